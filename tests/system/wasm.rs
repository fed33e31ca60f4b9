//! The checked-in WebAssembly: what its description says it is, and right, by an interpreter.

use std::path::PathBuf;
use std::process::Command;
use std::{fs, iter};

use proptest::prelude::*;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use wasmi::{Engine, Instance, Linker, Memory, Module, Store, TypedFunc};

const FILES: [&str; 2] = ["sha1.wasm", "sha1-simd.wasm"];

fn read(name: &str) -> Vec<u8> {
    fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("static").join(name)).unwrap()
}

/// A module at work, used as the page uses it.
struct Wasm {
    store: Store<()>,
    instance: Instance,
    memory: Memory,
    update: TypedFunc<u32, ()>,
    buffer: usize,
    buffer_len: usize,
}

impl Wasm {
    fn new(name: &str) -> Self {
        let engine = Engine::default();
        let module = Module::new(&engine, read(name)).unwrap();
        let mut store = Store::new(&engine, ());
        // Nothing to link: the module asks for nothing.
        let instance = Linker::new(&engine).instantiate_and_start(&mut store, &module).unwrap();
        let memory = instance.get_memory(&store, "memory").unwrap();
        let update = instance.get_typed_func(&store, "update").unwrap();
        let mut wasm = Self { store, instance, memory, update, buffer: 0, buffer_len: 0 };
        wasm.buffer = wasm.call("buffer");
        wasm.buffer_len = wasm.call("buffer_len");
        wasm
    }

    fn call(&mut self, name: &str) -> usize {
        let export = self.instance.get_typed_func::<(), u32>(&self.store, name).unwrap();
        export.call(&mut self.store, ()).unwrap() as usize
    }

    fn reset(&mut self) {
        self.instance
            .get_typed_func::<(), ()>(&self.store, "reset")
            .unwrap()
            .call(&mut self.store, ())
            .unwrap();
    }

    fn update(&mut self, data: &[u8]) {
        for part in data.chunks(self.buffer_len) {
            self.memory.write(&mut self.store, self.buffer, part).unwrap();
            self.update.call(&mut self.store, part.len() as u32).unwrap();
        }
    }

    fn digest(&mut self) -> [u8; 20] {
        let at = self.call("finish");
        self.memory.data(&self.store)[at..at + 20].try_into().unwrap()
    }

    fn state(&mut self) -> std::ops::Range<usize> {
        let at = self.call("state");
        at..at + self.call("state_len")
    }

    fn save(&mut self) -> Vec<u8> {
        let state = self.state();
        self.memory.data(&self.store)[state].to_vec()
    }

    fn restore(&mut self, saved: &[u8]) {
        let state = self.state();
        self.memory.data_mut(&mut self.store)[state].copy_from_slice(saved);
    }
}

fn content(bytes: usize) -> Vec<u8> {
    iter::successors(Some(1_u32), |x| Some(x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)))
        .map(|x| (x >> 24) as u8)
        .take(bytes)
        .collect()
}

fn plain(content: &[u8]) -> [u8; 20] {
    Sha1::digest(content).into()
}

#[test]
fn the_checked_in_file_is_the_one_described() {
    for name in FILES {
        let file = read(name);
        let described = String::from_utf8(read(&format!("{name}.txt"))).unwrap();
        let said = |key: &str| described.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
        assert_eq!(said("sha256: "), hex::encode(Sha256::digest(&file)), "{name}");
        assert_eq!(said("bytes: "), file.len().to_string(), "{name}");
    }
}

#[test]
fn the_checked_in_file_is_what_the_source_makes() {
    let root = env!("CARGO_MANIFEST_DIR");
    let run = Command::new(PathBuf::from(root).join("scripts/build-wasm"))
        .arg("--check")
        .env("CARGO_TARGET_DIR", env!("CARGO_TARGET_TMPDIR"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    match run.status.code() {
        Some(0) => {}
        Some(77) => eprintln!("skipped: the checked-in WebAssembly was not built again: {}", said.trim()),
        _ => panic!("{said}"),
    }
}

#[test]
fn it_computes_sha1() {
    for name in FILES {
        let mut wasm = Wasm::new(name);
        let full = wasm.buffer_len;
        for length in (0..200).chain([full - 1, full, full + 1]) {
            let content = content(length);
            wasm.reset();
            wasm.update(&content);
            assert_eq!(wasm.digest(), plain(&content), "{name}: {length} bytes");
        }
    }
}

#[test]
fn it_computes_sha1_around_4_mib() {
    let content = content((4 << 20) + 1);
    for name in FILES {
        let mut wasm = Wasm::new(name);
        let mut hashed = 0;
        // A digest ends nothing, so each size goes on from the last: an interpreter is slow.
        for length in [(4 << 20) - 1, 4 << 20, (4 << 20) + 1] {
            wasm.update(&content[hashed..length]);
            hashed = length;
            assert_eq!(wasm.digest(), plain(&content[..length]), "{name}: {length} bytes");
        }
    }
}

proptest! {
    // Few, because each starts an interpreter; a failing one prints its input.
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn cuts_make_no_difference(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20)) {
        for name in FILES {
            let mut wasm = Wasm::new(name);
            for part in &parts {
                wasm.update(part);
            }
            prop_assert_eq!(wasm.digest(), plain(&parts.concat()), "{}", name);
        }
    }
}

#[test]
fn files_take_turns() {
    for name in FILES {
        let mut wasm = Wasm::new(name);
        let (first, second) = (content(1000), content(777));

        wasm.update(&first[..321]);
        let first_saved = wasm.save();
        wasm.reset();
        wasm.update(&second[..100]);
        let second_saved = wasm.save();

        wasm.restore(&first_saved);
        wasm.update(&first[321..]);
        // A digest ends nothing.
        assert_eq!(wasm.digest(), plain(&first));
        assert_eq!(wasm.digest(), plain(&first));

        wasm.restore(&second_saved);
        wasm.update(&second[100..]);
        assert_eq!(wasm.digest(), plain(&second));
    }
}

#[test]
fn a_length_beyond_the_buffer_counts_as_all_of_it() {
    for name in FILES {
        let mut wasm = Wasm::new(name);
        let content = content(wasm.buffer_len);
        wasm.memory.write(&mut wasm.store, wasm.buffer, &content).unwrap();
        wasm.update.call(&mut wasm.store, u32::MAX).unwrap();
        assert_eq!(wasm.digest(), plain(&content));
    }
}
