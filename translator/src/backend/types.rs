//! Types and constants, each declared once, when first needed.

use rspirv::dr::Operand;
use rspirv::spirv::{Capability, Decoration, StorageClass, Word};

use super::Emitter;
use crate::hash::HashMap;
use crate::ir::{Const, Type};

/// Ids of what has been declared.
#[derive(Default)]
pub(super) struct Types {
    scalars: HashMap<Type, Word>,
    signed: HashMap<u32, Word>,
    pointers: HashMap<(StorageClass, Word), Word>,
    constants: HashMap<Const, Word>,
    vectors: HashMap<u32, Word>,
    /// By number of words of an element.
    buffer_blocks: HashMap<u32, Word>,
    /// Integers of 1 and 2 bytes.
    parts: HashMap<u32, Word>,
    part_blocks: HashMap<u32, Word>,
    /// The structure of two words that a double-width product is.
    product: Option<Word>,
}

impl Types {
    /// Whether a type has been declared.
    pub fn has(&self, ty: Type) -> bool {
        self.scalars.contains_key(&ty)
    }
}

impl Emitter<'_> {
    /// The id of a type; integers are unsigned.
    pub(super) fn ty(&mut self, ty: Type) -> Word {
        if let Some(id) = self.types.scalars.get(&ty) {
            return *id;
        }
        let id = match ty {
            Type::Bool => self.b.type_bool(),
            // Vectors were split, so none is left; four words are what one would be.
            Type::V128 => {
                let word = self.ty(Type::I32);
                self.b.type_vector(word, 4)
            }
            Type::I32 => self.b.type_int(32, 0),
            Type::I64 => {
                self.b.capability(Capability::Int64);
                self.b.type_int(64, 0)
            }
            Type::F32 => self.b.type_float(32, None),
            Type::F64 => {
                self.b.capability(Capability::Float64);
                self.b.type_float(64, None)
            }
        };
        self.types.scalars.insert(ty, id);
        id
    }

    /// The id of the signed integer type of the same size as `ty`.
    pub(super) fn signed_ty(&mut self, ty: Type) -> Word {
        // The capability for 64 bits comes with the unsigned type.
        self.ty(ty.as_int());
        let bits = ty.bits();
        match self.types.signed.get(&bits) {
            Some(id) => *id,
            None => {
                let id = self.b.type_int(bits, 1);
                self.types.signed.insert(bits, id);
                id
            }
        }
    }

    /// The id of the vector of `lanes` words.
    pub(super) fn words_ty(&mut self, lanes: u32) -> Word {
        let word = self.ty(Type::I32);
        match self.types.vectors.get(&lanes) {
            Some(id) => *id,
            None => {
                let id = self.b.type_vector(word, lanes);
                self.types.vectors.insert(lanes, id);
                id
            }
        }
    }

    /// The id of the structure of two words, low and high, that a double-width product is.
    pub(super) fn product_ty(&mut self) -> Word {
        if let Some(id) = self.types.product {
            return id;
        }
        let word = self.ty(Type::I32);
        let id = self.b.type_struct([word, word]);
        self.types.product = Some(id);
        id
    }

    /// The id of a pointer type.
    pub(super) fn pointer_ty(&mut self, class: StorageClass, pointee: Word) -> Word {
        match self.types.pointers.get(&(class, pointee)) {
            Some(id) => *id,
            None => {
                let id = self.b.type_pointer(None, class, pointee);
                self.types.pointers.insert((class, pointee), id);
                id
            }
        }
    }

    /// The id of a constant.
    pub(super) fn constant(&mut self, value: Const) -> Word {
        if let Some(id) = self.types.constants.get(&value) {
            return *id;
        }
        let ty = self.ty(value.ty());
        let id = match value {
            Const::Bool(true) => self.b.constant_true(ty),
            Const::Bool(false) => self.b.constant_false(ty),
            Const::I32(bits) | Const::F32(bits) => self.b.constant_bit32(ty, bits),
            Const::I64(bits) | Const::F64(bits) => self.b.constant_bit64(ty, bits),
            Const::V128(bits) => {
                let bits = u128::from(bits);
                let words = [0, 32, 64, 96].map(|shift| self.constant(Const::I32((bits >> shift) as u32)));
                self.b.constant_composite(ty, words)
            }
        };
        self.types.constants.insert(value, id);
        id
    }

    /// The id of an `I32` constant.
    pub(super) fn u32_constant(&mut self, value: u32) -> Word {
        self.constant(Const::I32(value))
    }

    /// The id of the integer type of so many bytes: 1 or 2, which only buffers have, or 8, for atomic accesses.
    pub(super) fn part_ty(&mut self, bytes: u32) -> Word {
        if let Some(id) = self.types.parts.get(&bytes) {
            return *id;
        }
        if bytes == 8 {
            self.b.capability(Capability::Int64Atomics);
            return self.ty(Type::I64);
        }
        if bytes == 1 {
            self.b.capability(Capability::StorageBuffer8BitAccess);
            self.b.extension("SPV_KHR_8bit_storage");
        } else {
            self.b.capability(Capability::StorageBuffer16BitAccess);
        }
        let id = self.b.type_int(8 * bytes, 0);
        self.types.parts.insert(bytes, id);
        id
    }

    /// The block of a storage buffer as an unsized array of integers of so many bytes.
    pub(super) fn part_block(&mut self, bytes: u32) -> Word {
        if let Some(id) = self.types.part_blocks.get(&bytes) {
            return *id;
        }
        let element = self.part_ty(bytes);
        let id = self.block_of(element, bytes);
        self.types.part_blocks.insert(bytes, id);
        id
    }

    fn block_of(&mut self, element: Word, stride: u32) -> Word {
        let array = self.b.type_runtime_array(element);
        self.block_with(array, stride)
    }

    /// The block of a uniform buffer as an array of so many vectors of four words. Only the data segments are one, so it is
    /// declared once.
    pub(super) fn uniform_block(&mut self, vectors: u32) -> Word {
        let (vector, length) = (self.words_ty(4), self.u32_constant(vectors));
        let array = self.b.type_array(vector, length);
        self.block_with(array, 16)
    }

    fn block_with(&mut self, array: Word, stride: u32) -> Word {
        self.b.decorate(array, Decoration::ArrayStride, [Operand::LiteralBit32(stride)]);
        let id = self.b.type_struct([array]);
        self.b.decorate(id, Decoration::Block, []);
        self.b.member_decorate(id, 0, Decoration::Offset, [Operand::LiteralBit32(0)]);
        id
    }

    /// The block of a storage buffer: an unsized array of words, or of vectors of `lanes` words.
    pub(super) fn buffer_block(&mut self, lanes: u32) -> Word {
        if let Some(id) = self.types.buffer_blocks.get(&lanes) {
            return *id;
        }
        let element = if lanes == 1 { self.ty(Type::I32) } else { self.words_ty(lanes) };
        let id = self.block_of(element, 4 * lanes);
        self.types.buffer_blocks.insert(lanes, id);
        id
    }
}
