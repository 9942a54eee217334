//! Sockets that the standard library has no safe interface for.
