//! Client of the keyholder: a digest goes out, a signature comes back; the private key never leaves its role.
