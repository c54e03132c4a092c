//! (ssmix2)
