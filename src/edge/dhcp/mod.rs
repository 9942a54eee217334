//! The DHCPv4 server and proxyDHCP engine.
