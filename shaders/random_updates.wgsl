// random_updates: exclusive ors at random places of a table of 64-bit numbers, as two words each: the operator has no carry.
//
// binding 0: where each invocation starts in the sequence, low and high words
// binding 1: updates of an invocation
// binding 2: table, low and high words
// Workgroups of 64. One invocation at least for each iteration, as a row or a rectangle (x, y, 1).

@group(0) @binding(0) var<storage, read> starts: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read> updates: array<u32>;
@group(0) @binding(2) var<storage, read_write> table: array<atomic<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if i >= arrayLength(&starts) {
        return;
    }
    var low = starts[i].x;
    var high = starts[i].y;
    let mask = arrayLength(&table) / 2u - 1u;
    for (var update = updates[0]; update > 0u; update--) {
        let overflow = select(0u, 7u, (high >> 31u) != 0u);
        high = (high << 1u) | (low >> 31u);
        low = (low << 1u) ^ overflow;
        let at = (low & mask) * 2u;
        atomicXor(&table[at], low);
        atomicXor(&table[at + 1u], high);
    }
}
