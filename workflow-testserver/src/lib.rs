//! workflow-testserver
