//! What each leg of a bill pays: the least cut of the bounds around the first k legs, less the least cut around the first k − 1.
//!
//! Between source and sink stand, one behind the other: all legs together (stack cap), the agreements' caps, the programmes' caps, the
//! vouchers' balances, what a rate gives of a line to one voucher, what it gives of the line to the whole programme, the line itself.
//! The least cut is found as a largest flow by pushing excess downhill (preflow and heights), from nothing for every k: slow, simple, and
//! with no path in common with a search for augmenting paths.

/// One bill. Amounts in fen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bill {
    /// What each line costs.
    pub(crate) lines: Vec<i128>,
    /// What all legs together may pay.
    pub(crate) together: i128,
    /// What each agreement leaves.
    pub(crate) agreements: Vec<i128>,
    pub(crate) programmes: Vec<Side>,
    /// In order.
    pub(crate) legs: Vec<Offer>,
}

/// A programme's side of a bill.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    /// Place of its agreement.
    pub(crate) agreement: usize,
    /// What its caps leave.
    pub(crate) left: i128,
    /// Per line, what its rate gives of it.
    pub(crate) per_line: Vec<i128>,
}

/// A leg's side of a bill.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offer {
    /// Place of its programme.
    pub(crate) programme: usize,
    /// What the voucher has.
    pub(crate) balance: i128,
    /// Per line, what the rate gives of the part the voucher covers.
    pub(crate) per_line: Vec<i128>,
}

/// Larger than any sum of amounts that facts can name.
pub(crate) const NO_BOUND: i128 = i128::MAX / 1_000_000;

/// What each leg pays.
pub(crate) fn leg_amounts(bill: &Bill) -> Vec<i128> {
    let mut before = 0;
    let mut amounts = Vec::with_capacity(bill.legs.len());
    for count in 1..=bill.legs.len() {
        let all = least_cut(bill, count);
        amounts.push(all - before);
        before = all;
    }
    amounts
}

/// Whether amounts are all that the legs can pay together, though not each in its turn the most it can.
///
/// Bounds before the legs (what caps of programmes and agreements leave) and bounds after them (lines and rates) can be at odds: a later leg may
/// be able to pay only when an earlier one leaves its line to it and another under the same cap takes over. The sum is then the largest, and
/// there is no way to pay it in order.
pub(crate) fn is_largest_out_of_order(bill: &Bill, amounts: &[i128]) -> bool {
    let in_order = leg_amounts(bill);
    let sum = |amounts: &[i128]| amounts.iter().sum::<i128>();
    let feasible = |amounts: &[i128]| {
        let mut bounded = bill.clone();
        for (leg, amount) in bounded.legs.iter_mut().zip(amounts) {
            leg.balance = leg.balance.min(*amount);
        }
        least_cut(&bounded, amounts.len()) == sum(amounts)
    };
    sum(&in_order) == sum(amounts) && feasible(amounts) && !feasible(&in_order)
}

fn least_cut(bill: &Bill, legs: usize) -> i128 {
    let (agreements, programmes, lines) = (bill.agreements.len(), bill.programmes.len(), bill.lines.len());
    let (source, sink, all) = (0, 1, 2);
    let agreement = |place: usize| 3 + place;
    let programme = |place: usize| 3 + agreements + place;
    let leg = |place: usize| 3 + agreements + programmes + place;
    let share = |place: usize, line: usize| 3 + agreements + programmes + legs + place * lines + line;
    let line = |place: usize| 3 + agreements + programmes + legs + programmes * lines + place;
    let mut graph = Graph::new(line(lines));
    graph.edge(source, all, bill.together);
    for (place, left) in bill.agreements.iter().enumerate() {
        graph.edge(all, agreement(place), *left);
    }
    for (place, side) in bill.programmes.iter().enumerate() {
        graph.edge(agreement(side.agreement), programme(place), side.left);
        for (row, gives) in side.per_line.iter().enumerate() {
            graph.edge(share(place, row), line(row), *gives);
        }
    }
    for (place, offer) in bill.legs[..legs].iter().enumerate() {
        graph.edge(programme(offer.programme), leg(place), offer.balance);
        for (row, gives) in offer.per_line.iter().enumerate() {
            graph.edge(leg(place), share(offer.programme, row), *gives);
        }
    }
    for (row, costs) in bill.lines.iter().enumerate() {
        graph.edge(line(row), sink, *costs);
    }
    graph.largest_flow(source, sink)
}

/// Edges with what they can still carry; the reverse of edge `e` is `e ^ 1`.
struct Graph {
    edges: Vec<(usize, i128)>,
    of_node: Vec<Vec<usize>>,
}

impl Graph {
    fn new(nodes: usize) -> Self {
        Self {
            edges: Vec::new(),
            of_node: vec![Vec::new(); nodes],
        }
    }

    fn edge(&mut self, from: usize, to: usize, bound: i128) {
        if bound > 0 {
            self.of_node[from].push(self.edges.len());
            self.of_node[to].push(self.edges.len() + 1);
            self.edges.push((to, bound));
            self.edges.push((from, 0));
        }
    }

    fn push(&mut self, edge: usize, amount: i128) {
        self.edges[edge].1 -= amount;
        self.edges[edge ^ 1].1 += amount;
    }

    // Every node passes on what it has too much of, to lower neighbours; one that has none is lifted just over the lowest it can reach.
    // What cannot reach the sink ends up over the source and flows back.
    fn largest_flow(&mut self, source: usize, sink: usize) -> i128 {
        let nodes = self.of_node.len();
        let mut height = vec![0; nodes];
        let mut excess = vec![0i128; nodes];
        height[source] = nodes;
        for edge in self.of_node[source].clone() {
            let (to, bound) = self.edges[edge];
            self.push(edge, bound);
            excess[to] += bound;
        }
        while let Some(node) = (0..nodes).find(|node| *node != source && *node != sink && excess[*node] > 0) {
            let open = |graph: &Self, edge: &usize| graph.edges[*edge].1 > 0;
            let downhill = self.of_node[node]
                .iter()
                .copied()
                .find(|edge| open(self, edge) && height[self.edges[*edge].0] < height[node]);
            match downhill {
                Some(edge) => {
                    let (to, bound) = self.edges[edge];
                    let amount = bound.min(excess[node]);
                    self.push(edge, amount);
                    excess[node] -= amount;
                    excess[to] += amount;
                }
                None => {
                    let reachable = self.of_node[node].iter().filter(|edge| open(self, edge));
                    let lowest = reachable.map(|edge| height[self.edges[*edge].0]).min();
                    // Whatever came in can flow back, so some neighbour is always reachable.
                    height[node] = lowest.map_or(2 * nodes, |lowest| lowest + 1);
                }
            }
        }
        excess[sink]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn side(per_line: &[i128]) -> Side {
        Side {
            agreement: 0,
            left: NO_BOUND,
            per_line: per_line.to_vec(),
        }
    }

    fn offer(programme: usize, balance: i128, per_line: &[i128]) -> Offer {
        Offer {
            programme,
            balance,
            per_line: per_line.to_vec(),
        }
    }

    #[test]
    fn the_first_leg_gives_way_on_a_line_that_only_the_second_can_pay() {
        let bill = Bill {
            lines: vec![100, 100],
            together: NO_BOUND,
            agreements: vec![NO_BOUND],
            programmes: vec![side(&[100, 100]), side(&[100, 0])],
            legs: vec![offer(0, 100, &[100, 100]), offer(1, 100, &[100, 0])],
        };
        assert_eq!(leg_amounts(&bill), [100, 100]);
    }

    #[test]
    fn bounds_of_programme_agreement_and_stack_are_shared() {
        let two = |together, agreement, programme| Bill {
            lines: vec![1_000],
            together,
            agreements: vec![agreement],
            programmes: vec![Side {
                left: programme,
                ..side(&[250])
            }],
            legs: vec![offer(0, 200, &[250]), offer(0, 900, &[250])],
        };
        assert_eq!(leg_amounts(&two(NO_BOUND, NO_BOUND, NO_BOUND)), [200, 50]);
        assert_eq!(leg_amounts(&two(120, NO_BOUND, NO_BOUND)), [120, 0]);
        assert_eq!(leg_amounts(&two(NO_BOUND, 210, NO_BOUND)), [200, 10]);
        assert_eq!(leg_amounts(&two(NO_BOUND, NO_BOUND, 0)), [0, 0]);
    }

    #[test]
    fn where_caps_and_lines_are_at_odds_the_sum_counts() {
        // Under a cap of 31 that both share, the first leg pays 30 and the second 1; then the third finds 2 left of its line. It gets 3 when the
        // first leaves it one, which the second pays elsewhere.
        let bill = Bill {
            lines: vec![5, 124],
            together: NO_BOUND,
            agreements: vec![31, NO_BOUND],
            programmes: vec![
                side(&[3, 27]),
                side(&[0, 31]),
                Side {
                    agreement: 1,
                    ..side(&[3, 0])
                },
            ],
            legs: vec![offer(0, 900, &[3, 27]), offer(1, 900, &[0, 31]), offer(2, 900, &[3, 0])],
        };
        assert_eq!(leg_amounts(&bill), [30, 1, 3]);
        assert!(is_largest_out_of_order(&bill, &[29, 2, 3]));
        for wrong in [[30, 1, 2], [30, 1, 3], [28, 3, 2], [29, 3, 3]] {
            assert!(!is_largest_out_of_order(&bill, &wrong), "{wrong:?}");
        }
    }

    fn bills() -> impl Strategy<Value = Bill> {
        let amounts = |n: usize| proptest::collection::vec(0i128..12, n);
        (1usize..3, 1usize..3, 1usize..4).prop_flat_map(move |(lines, programmes, legs)| {
            let sides = proptest::collection::vec((0usize..2, 0i128..14, amounts(lines)), programmes);
            let offers = proptest::collection::vec((0..programmes, 0i128..12, amounts(lines)), legs);
            (amounts(lines), 0i128..30, amounts(2), sides, offers).prop_map(
                |(lines, together, agreements, sides, offers)| Bill {
                    lines,
                    together,
                    agreements,
                    programmes: sides
                        .into_iter()
                        .map(|(agreement, left, per_line)| Side {
                            agreement,
                            left,
                            per_line,
                        })
                        .collect(),
                    legs: offers
                        .into_iter()
                        .map(|(programme, balance, per_line)| offer(programme, balance, &per_line))
                        .collect(),
                },
            )
        })
    }

    // Every way to put each node on one side of a cut, tried.
    fn every_cut(bill: &Bill) -> i128 {
        let (groups, programmes, legs, lines) = (
            bill.agreements.len(),
            bill.programmes.len(),
            bill.legs.len(),
            bill.lines.len(),
        );
        let nodes = groups + programmes + legs + programmes * lines + lines;
        (0u32..1 << nodes)
            .map(|sides| {
                let near = |node: usize| sides >> node & 1 == 1;
                let (group, programme) = (|g: usize| near(g), |p: usize| near(groups + p));
                let leg = |v: usize| near(groups + programmes + v);
                let share = |p: usize, l: usize| near(groups + programmes + legs + p * lines + l);
                let line = |l: usize| near(groups + programmes + legs + programmes * lines + l);
                let cut = |from: bool, to: bool, bound: i128| if from && !to { bound } else { 0 };
                let mut sum = 0;
                for g in 0..groups {
                    sum += cut(true, group(g), bill.agreements[g]);
                }
                for (p, side) in bill.programmes.iter().enumerate() {
                    sum += cut(group(side.agreement), programme(p), side.left);
                    for l in 0..lines {
                        sum += cut(share(p, l), line(l), side.per_line[l]);
                    }
                }
                for (v, offer) in bill.legs.iter().enumerate() {
                    sum += cut(programme(offer.programme), leg(v), offer.balance);
                    for l in 0..lines {
                        sum += cut(leg(v), share(offer.programme, l), offer.per_line[l]);
                    }
                }
                for l in 0..lines {
                    sum += cut(line(l), false, bill.lines[l]);
                }
                sum
            })
            .min()
            .unwrap_or(0)
            .min(bill.together)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_legs_together_pay_the_least_of_all_cuts(bill in bills()) {
            prop_assert_eq!(leg_amounts(&bill).iter().sum::<i128>(), every_cut(&bill));
        }
    }
}
