//! Many guests on many threads for minutes, with kernels of all sorts on a GPU and the CPU.
//!
//! `WAVELIFT_LOAD_MINUTES=10 cargo test --test host load -- --ignored --nocapture` runs for so long.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wavelift::{Config, Module, Runtime, WasiCtxBuilder};

use super::launches::devices;
use super::many::resident_pages;
use super::{DRIVER, Guest, filled, table};

const THREADS: usize = 16;
const GUESTS_OF_A_THREAD: usize = 4;
/// Lives after which a guest gives way to a new one.
const LIVES: u64 = 20;
/// How often memory is looked at.
const SAMPLES: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Counts {
    launches: AtomicU64,
    traps: AtomicU64,
    guests: AtomicU64,
    over: AtomicBool,
}

/// A guest and what it is made of.
struct Seat<'a> {
    place: &'a (Runtime, Module),
    guest: Guest,
    buffers: [i32; 2],
}

impl<'a> Seat<'a> {
    fn new(place: &'a (Runtime, Module), counts: &Counts) -> Seat<'a> {
        counts.guests.fetch_add(1, Ordering::Relaxed);
        let instance = wavelift::Instance::new(&place.0, &place.1, WasiCtxBuilder::new().build_p1()).unwrap();
        let mut guest = Guest { instance };
        let buffers = [guest.buffer(40_000, 2), guest.buffer(40_000, 2)];
        Seat { place, guest, buffers }
    }

    /// Some launches whose results are looked at.
    fn work(&mut self, round: u64, counts: &Counts) {
        let ([a, b], guest) = (self.buffers, &mut self.guest);
        let count = 64 + (round * 37 % 1000) as i32;
        let launch = |guest: &mut Guest, kernel, count, ins: &[i32], outs: &[i32]| {
            counts.launches.fetch_add(1, Ordering::Relaxed);
            guest.launch(kernel, count, ins, outs)
        };
        for _ in 0..5 {
            assert_eq!(launch(guest, table::FILL, count, &[], &[a]).unwrap(), 0);
            assert_eq!(launch(guest, table::DOUBLE, count, &[a], &[b]).unwrap(), 0);
        }
        let doubled: Vec<_> = filled(count).iter().map(|word| 2 * word).collect();
        assert_eq!(guest.words(b, count.min(200)), doubled[..count.min(200) as usize]);
        match round % 4 {
            0 => {
                assert_eq!(launch(guest, table::MEMORY, 50, &[], &[]).unwrap(), 0);
                assert_eq!((guest.load(4096), guest.load(4096 + 49 * 4)), (1, 50));
            }
            1 => {
                assert_eq!(launch(guest, table::INDIRECT, 100, &[], &[a]).unwrap(), 0);
                assert_eq!(guest.words(a, 100), (1..101).collect::<Vec<_>>());
            }
            2 => {
                assert_eq!(launch(guest, table::CALLS_HOST, 20, &[], &[a]).unwrap(), 0);
                assert_eq!(guest.words(a, 20), (41..61).collect::<Vec<_>>());
            }
            _ => {
                let trapped = launch(guest, table::TRAPS, 9, &[], &[a]).and_then(|_| guest.call("load", &[0]));
                assert!(trapped.unwrap_err().to_string().ends_with("trapped is 5."));
                counts.traps.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn work_on(thread: usize, places: &[(Runtime, Module)], counts: &Counts) {
    let place = |seat: usize| &places[(thread + seat) % places.len()];
    let mut seats: Vec<_> = (0..GUESTS_OF_A_THREAD).map(|seat| Seat::new(place(seat), counts)).collect();
    for round in thread as u64.. {
        for seat in &mut seats {
            if counts.over.load(Ordering::Relaxed) {
                return;
            }
            seat.work(round, counts);
            if round % LIVES == 0 {
                *seat = Seat::new(seat.place, counts);
            }
        }
    }
}

#[test]
#[ignore = "takes minutes"]
fn many_guests_for_minutes() {
    let minutes: f64 = std::env::var("WAVELIFT_LOAD_MINUTES").map_or(1.0, |text| text.parse().unwrap());
    let places: Vec<_> = devices()
        .into_iter()
        .map(|device| {
            let runtime = Runtime::new(Config { device, ..Config::default() }).unwrap();
            let module = Module::new(&runtime, DRIVER).unwrap();
            (runtime, module)
        })
        .collect();
    let (counts, started) = (Counts::default(), Instant::now());
    let mut pages = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn({
                    let (places, counts) = (&places, &counts);
                    move || work_on(thread, places, counts)
                })
            })
            .collect();
        while started.elapsed() < Duration::from_secs_f64(60.0 * minutes) && threads.iter().all(|t| !t.is_finished()) {
            std::thread::sleep(SAMPLES);
            pages.push(resident_pages());
            let (launches, traps) = (counts.launches.load(Ordering::Relaxed), counts.traps.load(Ordering::Relaxed));
            let guests = counts.guests.load(Ordering::Relaxed);
            let mib = resident_pages() * 4 / 1024;
            println!(
                "{:?}: {launches} launches, {traps} expected traps, {guests} guests, {mib} MiB",
                started.elapsed()
            );
        }
        counts.over.store(true, Ordering::Relaxed);
    });
    // The first third warms up.
    let (early, late) = pages.split_at(pages.len().div_ceil(3));
    let (Some(early), Some(late)) = (early.last(), late.last()) else { panic!("no time to look at memory") };
    assert!(*late <= early + early / 20, "memory grew from {early} pages to {late}");
}
