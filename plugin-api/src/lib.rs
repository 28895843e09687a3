//! Write a protocol for Polyport.
#![deny(missing_docs)]

#[allow(
    missing_docs,
    reason = "the C header documents these shapes; here they are only repeated"
)]
pub mod abi;
