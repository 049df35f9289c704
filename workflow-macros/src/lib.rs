//! workflow-macros
