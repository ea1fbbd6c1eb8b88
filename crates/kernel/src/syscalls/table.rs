//! The table itself: one row a call, by topic.

use super::Call;

/// Every known call, ascending by number.
pub static TABLE: &[Call] = &[];
