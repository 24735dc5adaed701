//! Which cryptography TLS uses: ring, chosen here and nowhere else.

/// Makes ring the process's crypto provider, unless the program has chosen one already. Called before an HTTP client is built; calling it again changes
/// nothing.
pub fn choose_crypto_provider() {
    // An error means that a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
