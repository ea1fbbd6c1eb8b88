//! A transaction that a closure runs in.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::options::{QueryOptions, Results};
use crate::session::Pglite;

/// A transaction, as [`Pglite::transaction`] lends it. Rolled back when dropped without a commit.
#[derive(Debug)]
pub struct Transaction<'a> {
    session: &'a mut Pglite,
    closed: bool,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(session: &'a mut Pglite) -> Self {
        Self {
            session,
            closed: false,
        }
    }

    /// [`Pglite::query`] in this transaction.
    ///
    /// # Errors
    /// Those of [`Pglite::query`]; [`Error::Closed`] after the end.
    pub fn query(
        &mut self,
        sql: &str,
        params: &[Value],
        options: Option<&QueryOptions>,
    ) -> Result<Results> {
        self.open()?.query(sql, params, options)
    }

    /// [`Pglite::exec`] in this transaction.
    ///
    /// # Errors
    /// Those of [`Pglite::exec`]; [`Error::Closed`] after the end.
    pub fn exec(&mut self, sql: &str, options: Option<&QueryOptions>) -> Result<Vec<Results>> {
        self.open()?.exec(sql, options)
    }

    /// [`Pglite::refresh_array_types`].
    ///
    /// # Errors
    /// Those of [`Pglite::refresh_array_types`]; [`Error::Closed`] after the end.
    pub fn refresh_array_types(&mut self) -> Result<()> {
        self.open()?.refresh_array_types()
    }

    fn open(&mut self) -> Result<&mut Pglite> {
        if self.closed {
            Err(Error::Closed)
        } else {
            Ok(self.session)
        }
    }

    /// Commits now; the transaction can do nothing afterwards.
    ///
    /// # Errors
    /// PostgreSQL's refusal; the transaction is rolled back then. A transaction in which a statement has failed cannot be committed: `25P02`.
    pub fn commit(&mut self) -> Result<()> {
        let failed = self.open()?.connection.transaction == b'E';
        self.closed = true;
        self.session
            .exec(if failed { "ROLLBACK" } else { "COMMIT" }, None)?;
        if failed {
            let mut error = crate::protocol::DatabaseError::new(
                0,
                "the transaction had failed, and was rolled back".to_owned(),
            );
            error.code = Some("25P02".to_owned());
            error.severity = Some("ERROR".to_owned());
            return Err(error.into());
        }
        Ok(())
    }

    /// Rolls back now; the transaction can do nothing afterwards.
    ///
    /// # Errors
    /// When the session is lost.
    pub fn rollback(&mut self) -> Result<()> {
        self.open()?;
        self.closed = true;
        self.session.exec("ROLLBACK", None).map(drop)
    }

    /// True after [`Self::commit`] or [`Self::rollback`].
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The same.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.closed
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.closed && self.session.is_ready() && self.session.exec("ROLLBACK", None).is_err() {
            // In an unknown state it must not be used on.
            self.session.connection.give_up();
        }
    }
}
