//! UEFI HTTP boot: firmware files over plain HTTP.
