//! Promises that are broken on purpose: what the tests check here notices each of them.
