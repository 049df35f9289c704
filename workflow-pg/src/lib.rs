//! workflow-pg
