//! Holds that are over, packed: a refund may come for any of them, so all are kept, and there may be millions. One takes some fifty bytes
//! of numbers, the small ones short.

use crate::books::{Cell, CellLeg, Ended};

/// The bytes of a hold that is over.
pub(crate) fn packed(ended: &Ended) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(64);
    let mut put = |number: i128| push(&mut bytes, number);
    for id in [ended.payer, ended.site, ended.provider] {
        put(id.into());
    }
    put(ended.cells.len() as i128);
    for cell in &ended.cells {
        put(cell.period.into());
        put(cell.copay);
        put(cell.legs.len() as i128);
        for leg in &cell.legs {
            put(leg.voucher.into());
            for number in [
                leg.programme,
                leg.revision,
                leg.agreement,
                leg.year,
                leg.group,
                leg.payee_region,
                u32::from(leg.by_holder),
            ] {
                put(number.into());
            }
            put(leg.amount);
            // Of money the same number again.
            put(leg.grant - leg.amount);
            put(leg.funders.len() as i128);
            leg.funders.iter().for_each(|part| put(*part));
        }
    }
    bytes.into()
}

/// The hold that was packed.
pub(crate) fn unpacked(bytes: &[u8]) -> Ended {
    let mut rest = bytes;
    let mut take = || take(&mut rest);
    Ended {
        payer: take() as u32,
        site: take() as u32,
        provider: take() as u32,
        cells: (0..take())
            .map(|_| Cell {
                period: take() as u32,
                copay: take(),
                legs: (0..take()).map(|_| leg(&mut take)).collect(),
            })
            .collect(),
    }
}

fn leg(take: &mut impl FnMut() -> i128) -> CellLeg {
    let voucher = take() as u64;
    let [programme, revision, agreement, year, group, payee_region, by_holder] = std::array::from_fn(|_| take() as u32);
    let amount = take();
    CellLeg {
        voucher,
        programme,
        revision,
        agreement,
        year,
        group,
        payee_region,
        by_holder: by_holder == 1,
        amount,
        grant: amount + take(),
        funders: (0..take()).map(|_| take()).collect(),
    }
}

// Seven bits a byte, the sign in the lowest.
fn push(bytes: &mut Vec<u8>, number: i128) {
    let mut left = ((number << 1) ^ (number >> 127)) as u128;
    while left > 0x7f {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
}

fn take(rest: &mut &[u8]) -> i128 {
    let (mut number, mut place) = (0u128, 0);
    while let Some((byte, after)) = rest.split_first() {
        *rest = after;
        number |= u128::from(byte & 0x7f) << place;
        place += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (number >> 1) as i128 ^ -((number & 1) as i128)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn legs() -> impl Strategy<Value = CellLeg> {
        let amounts = (
            any::<i64>(),
            any::<i64>(),
            proptest::collection::vec(any::<i64>(), 0..4),
        );
        (any::<u64>(), any::<[u32; 6]>(), any::<bool>(), amounts).prop_map(
            |(voucher, ids, by_holder, (amount, grant, funders))| CellLeg {
                voucher,
                programme: ids[0],
                revision: ids[1],
                agreement: ids[2],
                year: ids[3],
                group: ids[4],
                payee_region: ids[5],
                by_holder,
                amount: amount.into(),
                grant: grant.into(),
                funders: funders.into_iter().map(i128::from).collect(),
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(payer in any::<u32>(), copays in proptest::collection::vec((any::<i64>(), proptest::collection::vec(legs(), 0..3)), 0..3)) {
            let cells = copays.into_iter().map(|(copay, legs)| Cell { period: payer / 3, copay: copay.into(), legs });
            let ended = Ended { payer, site: 7, provider: 9, cells: cells.collect() };
            prop_assert_eq!(unpacked(&packed(&ended)), ended);
        }

        #[test]
        fn every_number_has_its_bytes(number in any::<i128>()) {
            let number = number / 4;
            let mut bytes = Vec::new();
            push(&mut bytes, number);
            prop_assert_eq!(take(&mut &*bytes), number);
        }
    }
}
