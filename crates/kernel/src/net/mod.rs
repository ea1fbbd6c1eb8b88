//! Sockets, pipes and what multiplexes them.
