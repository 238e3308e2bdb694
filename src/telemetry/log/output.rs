//! An output of the log.

use super::record::Record;

/// Where records go.
pub(super) trait Output: Send {
    /// Returns whether there is a reader. Without one, the records wait.
    fn is_ready(&mut self) -> bool;
    /// Writes a record, however long the reader takes.
    fn write(&mut self, record: &Record);
}
