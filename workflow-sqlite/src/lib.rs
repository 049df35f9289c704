//! workflow-sqlite
