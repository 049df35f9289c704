//! What is emitted on errors: the item in a form that is still usable, so that one mistake is reported once.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Type};

use crate::check;
use crate::expand;
use crate::model::Model;

/// The code, after the errors.
pub fn with_errors(code: TokenStream, errors: &[Error]) -> TokenStream {
    let errors = errors.iter().map(Error::to_compile_error);
    quote!(#(#errors)* #code)
}

/// A handle of the right name for a signature that can't be expanded, so that those who use it compile. Types that
/// can't stand in it become `()`.
pub fn stub(mut model: Model) -> TokenStream {
    let generic = !model.function.sig.generics.params.is_empty();
    let usable = |ty: &Type| !generic && check::is_owned(ty);
    model.input = model.input.take().filter(usable);
    model.returns = model.returns.take().filter(|ty| usable(ty) && matches!(ty, Type::Path(_)));
    expand::handle(&model, &TokenStream::new(), &quote!(::core::unreachable!()))
}
