//! `LISTEN`: callbacks for notifications.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::session::Pglite;
use crate::template::quote_identifier;

type OnChannel = Arc<dyn Fn(&str) + Send + Sync>;
type OnAny = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// The callbacks of a session.
#[derive(Default)]
pub(crate) struct Listeners {
    next: u64,
    channels: BTreeMap<u64, (String, OnChannel)>,
    global: BTreeMap<u64, OnAny>,
}

/// A callback of [`Pglite::listen`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerHandle {
    id: u64,
    channel: String,
}

impl ListenerHandle {
    /// Its channel.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.channel
    }
}

/// A callback of [`Pglite::on_notification`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GlobalListenerHandle {
    id: u64,
}

impl Pglite {
    /// Listens on a channel. The callback gets each payload, on the thread that uses this session: during any of its operations, or in [`Self::wait_for_notifications`].
    ///
    /// # Errors
    /// Those of [`Self::exec`].
    pub fn listen(
        &mut self,
        channel: &str,
        callback: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<ListenerHandle> {
        self.exec(&format!("LISTEN {}", quote_identifier(channel)), None)?;
        let id = self.listeners.next;
        self.listeners.next += 1;
        self.listeners
            .channels
            .insert(id, (channel.to_owned(), Arc::new(callback)));
        Ok(ListenerHandle {
            id,
            channel: channel.to_owned(),
        })
    }

    /// Removes a callback; without another one on its channel, the session stops listening there.
    ///
    /// # Errors
    /// Those of [`Self::exec`].
    pub fn unlisten(&mut self, handle: ListenerHandle) -> Result<()> {
        self.listeners.channels.remove(&handle.id);
        if self
            .listeners
            .channels
            .values()
            .any(|(channel, _)| *channel == handle.channel)
        {
            return Ok(());
        }
        self.exec(
            &format!("UNLISTEN {}", quote_identifier(&handle.channel)),
            None,
        )
        .map(drop)
    }

    /// Stops listening on a channel and removes all its callbacks.
    ///
    /// # Errors
    /// Those of [`Self::exec`].
    pub fn unlisten_channel(&mut self, channel: &str) -> Result<()> {
        self.listeners
            .channels
            .retain(|_, (known, _)| known != channel);
        self.exec(&format!("UNLISTEN {}", quote_identifier(channel)), None)
            .map(drop)
    }

    /// Calls back with channel and payload of every notification of a channel that the session listens on.
    pub fn on_notification(
        &mut self,
        callback: impl Fn(&str, &str) + Send + Sync + 'static,
    ) -> GlobalListenerHandle {
        let id = self.listeners.next;
        self.listeners.next += 1;
        self.listeners.global.insert(id, Arc::new(callback));
        GlobalListenerHandle { id }
    }

    /// Removes such a callback.
    pub fn off_notification(&mut self, handle: GlobalListenerHandle) {
        self.listeners.global.remove(&handle.id);
    }

    /// Waits until a notification has come, and calls back for all that have; false if none came in time.
    ///
    /// # Errors
    /// When the session is lost.
    pub fn wait_for_notifications(&mut self, patience: Duration) -> Result<bool> {
        let deadline = Instant::now() + patience;
        self.connection.request(|connection| {
            while connection.notifications.is_empty() {
                match connection.frame(Some(deadline))? {
                    Some(frame) => drop(connection.absorb(frame, None)?),
                    None => break,
                }
            }
            Ok(())
        })?;
        Ok(self.deliver())
    }

    /// Calls back for what has arrived; true if something had.
    pub(crate) fn deliver(&mut self) -> bool {
        let mut any = false;
        while let Some(notification) = self.connection.notifications.pop_front() {
            any = true;
            for (channel, callback) in self.listeners.channels.values() {
                if *channel == notification.channel {
                    callback(&notification.payload);
                }
            }
            for callback in self.listeners.global.values() {
                callback(&notification.channel, &notification.payload);
            }
        }
        any
    }
}
