//! The trap record: one word per trap site, lowered by shaders to the least iteration id that trapped there.

use wavelift_translator::TrapSite;

use crate::device::KernelTrap;

/// What a word holds while no invocation has trapped.
pub(crate) const NONE: u32 = u32::MAX;

/// The trap with the least iteration id over all sites; of equal ones that of the first site. If any invocation bailed out,
/// nothing else of the record counts.
pub(crate) fn least(record: &[u32], sites: &[TrapSite]) -> Option<KernelTrap> {
    let trapped = || record.iter().zip(sites).filter(|(iteration, _)| **iteration != NONE);
    let bailed_out = trapped().filter(|(_, site)| site.kind.bail_out().is_some());
    let first = bailed_out.min_by_key(|(iteration, _)| **iteration);
    let (iteration, site) = first.or_else(|| trapped().min_by_key(|(iteration, _)| **iteration))?;
    Some(KernelTrap { at: site.at, kind: site.kind, iteration: *iteration })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wavelift_translator::Assumption;

    use crate::device::{Location, TrapKind};

    #[test]
    fn the_least_iteration_wins_and_of_equal_ones_the_first_site() {
        let site = |offset, kind| TrapSite { at: Location { function: 0, offset }, kind };
        let sites = [site(1, TrapKind::OutOfBounds), site(2, TrapKind::DivideByZero), site(3, TrapKind::Unreachable)];
        assert_eq!(least(&[NONE, NONE, NONE], &sites), None);
        let trap = least(&[NONE, 7, 7], &sites).unwrap();
        assert_eq!((trap.iteration, trap.kind, trap.at.offset), (7, TrapKind::DivideByZero, 2));
        assert_eq!(least(&[9, 7, 0], &sites).unwrap().kind, TrapKind::Unreachable);
        assert_eq!(least(&[], &[]), None);
    }

    #[test]
    fn a_bail_out_comes_before_any_trap() {
        let site = |kind| TrapSite { at: Location::default(), kind };
        let (slots, aligned) = (TrapKind::BailedOut(Assumption::Slots), TrapKind::BailedOut(Assumption::Aligned));
        let sites = [site(TrapKind::OutOfBounds), site(slots), site(aligned)];
        assert_eq!(least(&[0, NONE, NONE], &sites).unwrap().kind, TrapKind::OutOfBounds);
        assert_eq!(least(&[0, 9, NONE], &sites).unwrap().kind, slots);
        assert_eq!(least(&[0, 9, 3], &sites).unwrap().kind, aligned);
    }
}
