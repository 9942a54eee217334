//! Filters that the kernel runs on what a raw socket would be given (classic BPF), so that only what is waited for wakes us.

use socket2::SockFilter;

// Linux' linux/filter.h: what an instruction does, and with how much.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_OCTET: u16 = 0x30;
const LOAD_HALF_FROM_X: u16 = 0x48;
const LOAD_OCTET_FROM_X: u16 = 0x50;
const LOAD_X_WITH_HEADER_LENGTH: u16 = 0xb1;
const MOVE_TO_X: u16 = 0x07;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_EQUAL_TO_X: u16 = 0x1d;
const JUMP_IF_BITS: u16 = 0x45;
const RETURN: u16 = 0x06;

const ALL_OF_IT: u32 = 0x0004_0000;
const NOTHING: u32 = 0;

const fn load(what: u16, place: u32) -> SockFilter {
    SockFilter::new(what, 0, 0, place)
}

/// Goes on with the next instruction when the value is `k`, else passes over `else_over` of them.
const fn unless_equal(k: u32, else_over: u8) -> SockFilter {
    SockFilter::new(JUMP_IF_EQUAL, 0, else_over, k)
}

const fn end(length: u32) -> SockFilter {
    SockFilter::new(RETURN, 0, 0, length)
}

/// Of ARP frames: answers, and requests in which a machine tells of itself (RFC 5227, section 3): its own address is what it asks
/// for.
pub(super) const fn arp_of_owners() -> [SockFilter; 9] {
    const OPERATION: u32 = 20;
    const SENDER: u32 = 28;
    const TARGET: u32 = 38;
    [
        load(LOAD_HALF, OPERATION),
        SockFilter::new(JUMP_IF_EQUAL, 5, 0, 2),
        unless_equal(1, 5),
        load(LOAD_WORD, SENDER),
        SockFilter::new(MOVE_TO_X, 0, 0, 0),
        load(LOAD_WORD, TARGET),
        SockFilter::new(JUMP_IF_EQUAL_TO_X, 0, 1, 0),
        end(ALL_OF_IT),
        end(NOTHING),
    ]
}

/// Of IPv4 frames: UDP to this port, first fragments only.
pub(super) const fn udp_to(port: u16) -> [SockFilter; 9] {
    const PROTOCOL: u32 = 23;
    const FRAGMENT: u32 = 20;
    const HEADER: u32 = 14;
    const DESTINATION: u32 = 16;
    [
        load(LOAD_OCTET, PROTOCOL),
        unless_equal(17, 6),
        load(LOAD_HALF, FRAGMENT),
        SockFilter::new(JUMP_IF_BITS, 4, 0, 0x1fff),
        load(LOAD_X_WITH_HEADER_LENGTH, HEADER),
        load(LOAD_HALF_FROM_X, DESTINATION),
        unless_equal(port as u32, 1),
        end(ALL_OF_IT),
        end(NOTHING),
    ]
}

/// Of IPv4 packets with ICMP: answers to our echoes.
pub(super) const fn echo_replies(identifier: u16) -> [SockFilter; 7] {
    const TYPE: u32 = 0;
    const IDENTIFIER: u32 = 4;
    [
        load(LOAD_X_WITH_HEADER_LENGTH, 0),
        load(LOAD_OCTET_FROM_X, TYPE),
        unless_equal(0, 3),
        load(LOAD_HALF_FROM_X, IDENTIFIER),
        unless_equal(identifier as u32, 1),
        end(ALL_OF_IT),
        end(NOTHING),
    ]
}
