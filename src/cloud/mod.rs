//! The service in the cloud: boot plane, site plane, store, admission, machine configs.
