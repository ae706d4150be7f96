//! The envelope of lists.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Cursor;

/// All items that were asked for, and the cursor that they are true at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// The items.
    pub items: Vec<T>,
    /// Subscribe from here to learn what happens after this answer.
    #[schema(value_type = String)]
    pub cursor: Cursor,
}
