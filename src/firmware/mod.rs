//! Reads pinned iPXE files, embeds the root's fingerprint and seals it.
