//! The `#[workflow]` attribute.

mod args;
mod check;
mod expand;
mod fallback;
mod lint;
mod model;

use proc_macro::TokenStream;

/// Makes a durable workflow of an `async fn`.
#[proc_macro_attribute]
pub fn workflow(args: TokenStream, item: TokenStream) -> TokenStream {
    attribute(args.into(), item.into()).into()
}

/// The whole attribute: parse, check, expand; on an error, expand to whatever is still usable.
fn attribute(args: proc_macro2::TokenStream, item: proc_macro2::TokenStream) -> proc_macro2::TokenStream {
    let (args, mut errors) = args::Args::parse(args);
    let mut function = match syn::parse2::<model::Function>(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            errors.push(model::not_a_function(&error));
            return fallback::with_errors(item, &errors);
        }
    };
    let signature = check::signature(&function, &args);
    errors.extend(signature.errors);
    errors.extend(check::body(&function, &args));
    fallback::mend(&mut function.sig);
    let model = model::Model::new(function, args);
    let code = match signature.use_as {
        check::Use::Workflow => expand::workflow(&model),
        check::Use::Stub => fallback::stub(model),
        check::Use::Handle => fallback::handle(model),
        check::Use::Item => item,
    };
    fallback::with_errors(code, &errors)
}
