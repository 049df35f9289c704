//! What is emitted on errors: the item in a form that is still usable, so that one mistake is reported once.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Signature, Type};

use crate::check;
use crate::expand;
use crate::model::Model;

/// The code, after the errors.
pub fn with_errors(code: TokenStream, errors: &[Error]) -> TokenStream {
    let errors = errors.iter().map(Error::to_compile_error);
    quote!(#(#errors)* #code)
}

/// Undoes the mistakes that leave no doubt what was meant.
pub fn mend(sig: &mut Signature) {
    sig.asyncness.get_or_insert_with(Default::default);
    (sig.constness, sig.unsafety, sig.abi) = (None, None, None);
}

/// A handle of the right name for a signature that can't be expanded, so that those who use it compile. Types that
/// can't stand in it become `()`.
pub fn handle(mut model: Model) -> TokenStream {
    reduce(&mut model);
    expand::handle(&model, &TokenStream::new(), &quote!(::core::unreachable!()))
}

/// The same, with the function beside it, so that its body is still compiled.
pub fn stub(mut model: Model) -> TokenStream {
    let function = expand::function(&model);
    reduce(&mut model);
    expand::handle(&model, &quote!(#[allow(dead_code, unused_variables)] #function), &quote!(::core::unreachable!()))
}

fn reduce(model: &mut Model) {
    let generic = !model.function.sig.generics.params.is_empty();
    let usable = |ty: &Type| !generic && check::is_owned(ty);
    if model.input.as_ref().is_some_and(check::is_ctx) {
        std::mem::swap(&mut model.ctx, &mut model.input);
    }
    model.input = model.input.take().filter(usable);
    model.returns = model.returns.take().filter(|ty| usable(ty) && matches!(ty, Type::Path(_)));
}
