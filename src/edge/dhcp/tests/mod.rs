mod administration;
mod captures;
mod durability;
mod mutation;
pub(super) mod packet;
mod proxy;
mod pxe;
mod rfc2131;
pub(super) mod site;
