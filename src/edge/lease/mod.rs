//! Leases: who holds which address, durable before it is promised.
