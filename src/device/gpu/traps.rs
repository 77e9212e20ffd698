//! The trap record: one word per trap site, lowered by shaders to the least iteration id that trapped there.

use wavelift_translator::TrapSite;

use crate::device::KernelTrap;

/// What a word holds while no invocation has trapped.
pub(crate) const NONE: u32 = u32::MAX;

/// The trap with the least iteration id over all sites; of equal ones that of the first site.
pub(crate) fn least(record: &[u32], sites: &[TrapSite]) -> Option<KernelTrap> {
    let trapped = record.iter().zip(sites).filter(|(iteration, _)| **iteration != NONE);
    let (iteration, site) = trapped.min_by_key(|(iteration, _)| **iteration)?;
    Some(KernelTrap { at: site.at, kind: site.kind, iteration: *iteration })
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
