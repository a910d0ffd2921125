"""Everything that the model takes for granted, in one place: value, unit, range and where it comes
from. Nothing here was fitted to a run on a GPU. model.py --check compares these figures with those
that were recorded with the predictions, so that nobody improves a prediction by changing them
unnoticed: a change is recorded by `model.py --write`, and shows in figures.json.

Sources: [data sheet] what NVIDIA publishes of the H200 SXM; [SASS] counted in the machine code;
[typical] what is usually measured on such machines, none of them ours; [estimate] by hand.
"""
from collections import namedtuple

Assumption = namedtuple('Assumption', 'value low high unit source')


def a(value, low, high, unit, source):
    return Assumption(value, low, high, unit, source)


TABLE = {
    # --- the device
    'clock': a(1.755, 1.5, 1.98, 'GHz',
        '[typical] a loaded H200 SXM; the data sheet has 1.98 boost'),
    'sms': a(132, 132, 132, '', '[data sheet]'),
    'quarters': a(4, 4, 4, '',
        '[data sheet] schedulers of an SM, each issues one instruction a cycle'),
    'registers': a(65536, 65536, 65536, 'per SM', '[data sheet]'),
    'shared_kb': a(227, 227, 227, 'KiB per block',
        '[data sheet]; an SM has 228, 1 is kept for each block'),
    'peak_bandwidth': a(4.8, 4.8, 4.8, 'TB/s', '[data sheet] the limit that percentages refer to'),
    'bandwidth': a(4.3, 4.0, 4.5, 'TB/s',
        '[typical] what a reading kernel reaches, 90 % of the peak'),
    'latency': a(550, 400, 700, 'ns', '[estimate] of a DRAM load while others load as well'),
    'latency_spread': a(0.2, 0, 0.3, '', '[estimate] a load takes latency * (1 +- this)'),
    'latency_behind_queue': a(0.35, 0.2, 1, '',
        '[estimate] part of the latency that follows the transfer, where the queue of DRAM is'
        ' what a load waits for'),
    'l2_latency': a(180, 150, 250, 'ns', '[typical] of a hit, pointer chase'),
    'l2_bytes_per_cycle': a(64, 48, 64, 'B per SM', '[typical] from L2 to one SM'),
    # --- borders between kernels
    'gap': a(0.75, 0.5, 1.2, 'us',
        '[estimate] last store of a kernel to the released wait of the next, launched '
        'programmatically'),
    'eager_border': a(1.3, 1, 2, 'us',
        '[typical] exposed between kernels of a stream without programmatic launch'),
    'graph_border': a(2.0, 1, 3, 'us', '[typical] between graphs of two steps'),
    'small_kernel': a(1.6, 1, 2.5, 'us',
        '[estimate] of a kernel that does next to nothing: two or three dependent trips to L2'
        ' and its stores'),
    'embed': a(1.2, 0.8, 2, 'us', '[estimate] one row of the table, a dependent load of the token'),
    'heads': a(0.8, 0.6, 1.2, 'us', '[estimate] norm and rope of a row: loads, sine, store'),
    # --- a warp in the mat-vec kernel (cycles)
    'issue_loads': a(45, 30, 60, 'cycles', '[SASS] addresses and loads of a step, before it waits'),
    'chain': a(1.7, 1.3, 2.5, 'cycles',
        '[estimate] per instruction of a step, of one warp alone: instructions depend on each'
        ' other'),
    'generic_load': a(10, 5, 20, 'cycles',
        '[estimate] that a load takes longer whose address may be shared or global: 64-bit '
        'address, then the choice'),
    'tile_end': a(330, 250, 450, 'cycles',
        '[SASS] sum over the warp (5 dependent shuffles), store'),
    'tile_next': a(300, 200, 400, 'cycles',
        '[SASS] place, dispatch by type, pointers of the next tile'),
    'residual': a(230, 200, 300, 'cycles',
        '[estimate] a trip to L2 for the residual after the dot'),
    'barrier': a(60, 40, 100, 'cycles', '[estimate] barrier of a block and sum of the parts'),
    'tail': a(250, 150, 400, 'cycles', '[estimate] last store until it is visible'),
    'tail_swiglu': a(500, 350, 700, 'cycles', '[estimate] silu, quantising, store'),
    'prologue': a(310, 200, 400, 'cycles', '[SASS] parameters, place of the first tile, pointers'),
    'norm': a(1500, 1200, 1900, 'cycles',
        '[SASS] of the prologue that normalises: x twice from L2, two barriers, divisions'),
    'norm_column': a(0.14, 0.1, 0.3, 'cycles', '[SASS] more of it for each column'),
    'prefetch_plane': a(32768, 32768, 32768, 'bytes',
        'what was asked for of each plane of a tile before launches said it in their plan'),
    'prefetch_issue': a(40, 32, 64, 'cycles',
        '[estimate] of an instruction that asks for 32 lines: one a cycle, and its address'),
    # --- time between the first block's start and its released wait (prefetches go out in it)
    'early_attend': a(1.5, 0.5, 3, 'us', '[estimate] behind attention, which leaves room in an SM'),
    'early_full': a(0.3, 0, 1, 'us', '[estimate] behind kernels that fill the SMs until they end'),
    'early_room': a(0.5, 0.2, 1, 'us',
        '[estimate] behind kernels that leave places for blocks free'),
    # --- attention (cycles)
    'attend_start': a(0.33, 0.25, 0.5, 'us',
        '[SASS] row, page table, address: dependent trips to L2'),
    'attend_leave': a(0.35, 0.25, 0.5, 'us',
        '[SASS] sums of the warps through shared memory, store'),
    'attend_arrive': a(0.8, 0.6, 1.2, 'us', '[estimate] fence, atomic, fence, barrier; statistics'),
    'attend_chain': a(1.1, 1, 2, 'cycles',
        '[estimate] per instruction of a page, of one warp alone'),
    'attend_copy': a(16, 12, 25, 'cycles',
        '[SASS] instructions for a copy of 16 bytes into shared memory'),
    'combine_trip': a(300, 250, 400, 'cycles', '[estimate] a load from L2, without its transfer'),
    'combine_fixed': a(250, 150, 400, 'cycles',
        '[estimate] per column group: weights, quantising, store'),
    # --- many rows: dequantising, cuBLAS, attention on tensor cores
    'gemm_tflops_256': a(650, 600, 700, 'TFLOP/s',
        '[typical] cuBLAS, halves, whole waves of tiles of 128 x 256'),
    'gemm_tflops_128': a(620, 550, 660, 'TFLOP/s', '[typical] the same, tiles of 128 x 128'),
    'gemm_tflops_64': a(450, 350, 550, 'TFLOP/s', '[estimate] the same, tiles of 128 x 64'),
    'gemm_tflops_small': a(320, 250, 400, 'TFLOP/s', '[estimate] the same, tiles of 64 x 64'),
    'gemm_tf32': a(0.45, 0.3, 0.5, '', '[data sheet] of these rates, for products of floats'),
    'gemm_fixed': a(1.0, 0.7, 3, 'us', '[estimate] of a product: parameters, fill of the pipeline'),
    'gemm_in_flight': a(48, 32, 96, 'KiB', '[estimate] stages of tiles that a block has under way'),
    'gemm_bandwidth': a(3.1, 2.5, 3.6, 'TB/s',
        'onnxruntime PR 31155: cuBLAS, halves, 4 rows, H200'),
    'gemm_split': a(1024, 512, 4096, 'columns',
        '[estimate] least of a part, where cuBLAS splits the columns because tiles are few'),
    'mma_sync': a(0.62, 0.55, 0.66, '', '[typical] of the tensor rate for mma.sync on Hopper'),
    'tensor_flops': a(4096, 4096, 4096, 'per SM and cycle', '[data sheet] dense, halves'),
    'shared_bytes_per_cycle': a(128, 128, 128, 'B per SM', '[data sheet]'),
    'attend_tiled_overlap': a(0.6, 0.5, 0.8, '',
        '[estimate] of its bounds that the kernel reaches: products, loads and exponentials '
        'wait for each other'),
    'host_launch': a(3.5, 2.5, 5, 'us', '[typical] that a launch takes the host'),
    'host_copy': a(10, 5, 20, 'us', '[typical] a copy of a step to the device and its wait'),
    # --- loading
    'memcpy': a(6.5, 5, 8, 'GB/s',
        '[typical] one thread from a mapped file in the page cache to pinned memory, faults '
        'included'),
    'pread': a(6.0, 4, 8, 'GB/s',
        '[typical] one thread, read() from the page cache to pinned memory'),
    'host_cores': a(16, 8, 64, '', '[typical] of a host, for one of its GPUs'),
    'copy_fixed': a(5, 2, 10, 'us', '[typical] of a copy to the device besides its bytes'),
    'host_memory': a(60, 40, 100, 'GB/s', '[typical] copied by many threads of one socket'),
    'pcie': a(55, 50, 57, 'GB/s', '[typical] of PCIe 5 x16, from pinned memory'),
    'malloc': a(80, 50, 120, 'us', '[typical] cudaMalloc of some MB'),
    'malloc_gb': a(1.0, 0.5, 3, 'ms per GB', '[typical] mapping large allocations'),
    'pin': a(0.6, 0.3, 1, 'ms per MB', '[typical] cudaMallocHost'),
    'repack': a(1.0, 0.5, 2, 'ms per GB', '[estimate] on the device, read and written'),
}

VALUE = {name: row.value for name, row in TABLE.items()}
