//! The network in int8: linear layers as products of integers, attention and normalisation as one operation each.
//!
//! tract reads a file into a graph of small operations. [`rewrite()`] looks in that graph for the layers of an encoder of the
//! BERT family, by what is computed and never by names, and puts operations of ours in their place. A linear layer's weights
//! are rounded to int8 for each column when the model is loaded; activations are rounded to 255 steps for each token as they come
//! (Dettmers et al. 2022, section 2, without their outliers). Attention has no weights; its products are of 16 bits. What has one row
//! a text, the classifier's head, stays float32.
//!
//! A network in which anything large is left that we do not know is not rewritten: it is computed in float32, and says so.
//!
//! # Layout
//! - [`rewrite`](mod@rewrite): the passes over the graph; `patterns`: what they look for
//! - [`fused`]: the operations that take the place
//! - [`weights`], [`work`]: what the kernels read, and what they are asked to do
//! - [`tier`]: the CPU's instructions, and its matrix registers; the only `unsafe`
//! - [`kernels`]: the arithmetic

mod fused;
#[cfg(target_arch = "x86_64")]
mod kernels;
mod patterns;
mod rewrite;
mod tier;
mod weights;
mod work;

#[cfg(test)]
mod tests;

pub(super) use rewrite::rewrite;
pub(super) use tier::Tier;
