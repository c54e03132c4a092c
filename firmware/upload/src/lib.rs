//! Delivery of sealed bundles: resumable upload by tus 1.0 over mutual TLS, and the receiver's signed receipts.
//!
//! Invariants
//! 1. A bundle counts as delivered only against a [`Receipt`], which exists only as the result of [`verify_receipt`];
//!    or, where the site configuration says that the server gives none, when the server holds every byte.
//! 2. The private key of the client certificate is never here: TLS asks a [`bundle::Signer`] to sign a digest.
//! 3. The server is known by a pinned private authority, by its name, and by a revocation list that must be present
//!    and fresh: without one nothing is sent. Sessions are never resumed, so no connection escapes these checks.
//! 4. What to do next is decided in [`transfer`] without I/O; [`client`] only carries it out.
//! 5. Whatever a server answers ends in a typed error that says retry, start over, or stop; never in a panic and never
//!    in an unbounded allocation.
//!
//! The receiving side uses [`tus`], [`tls`] and [`receipt`] as well, so that both ends agree by construction.
//!
//! Sources: tus resumable upload protocol 1.0.0; RFC 5652 (CMS SignedData), RFC 8446 (TLS 1.3), RFC 5280 section 5
//! (revocation lists).

#![forbid(unsafe_code)]

mod ceiling;
pub mod client;
pub mod fault;
pub mod receipt;
pub mod tls;
mod tls_key;
mod tls_verify;
pub mod transfer;
pub mod tus;

pub use client::{Bundle, Client, Course, Delivered, Target};
pub use fault::{Advice, CertificateFault, Scope, UploadError};
pub use receipt::{Receipt, ReceiptFault, UnverifiedReceipt, verify_receipt};
pub use rustls::ClientConfig;
pub use rustls_pki_types::ServerName;
pub use tls::{Identity, TlsFault, TlsProfile, Trust};
pub use tls_verify::box_of;
