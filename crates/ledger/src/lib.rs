//! Money: parties, programmes, vouchers, recognition agreements, price sheets, quotes, holds, captures and refunds, in
//! double entry. Knows no job, clock, float or hash order: commands go in with their time, answers and journal entries come out.

pub mod paged;
pub mod types;
