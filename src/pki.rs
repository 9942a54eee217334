//! Keys, certificates and verifiers.
