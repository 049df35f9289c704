//! The `#[workflow]` attribute.

use proc_macro::TokenStream;

/// Makes a durable workflow of an `async fn`.
#[proc_macro_attribute]
pub fn workflow(_args: TokenStream, item: TokenStream) -> TokenStream {
    item
}
