"""Loading: what is serial before the first byte, then readers that fill pinned buffers, the way to
the device, and the rearranging there, which overlap where the ring has buffers for each."""
import re


def constants(path='cuda/upload.c'):
    """RING and READERS of the upload, as the source has them; one reader if it knows none."""
    with open(path, encoding='utf-8') as f:
        text = f.read()
    found = {name: int(value) for name, value in re.findall(r'\b(RING|READERS) = (\d+)', text)}
    maps = not re.search(r'\bpread\(|file_read|weft_file_read', text)
    return found.get('READERS', 1), found.get('RING', 2), maps


def load_us(v, records, readers, ring, maps):
    """(us, bytes) of a load. maps: the readers copy out of the mapped file, else they read()."""
    n_bytes = sum(r['bytes'] for r in records if r['kind'] == 'copy' and r['direction'] == 'h2d')
    fixed = 0.0
    for r in records:
        n = r.get('count', 1)
        if r['kind'] == 'malloc':
            fixed += n * v['malloc'] + r['bytes'] / 1e9 * v['malloc_gb'] * 1e3
        elif r['kind'] == 'pin':
            fixed += r['bytes'] / 1e6 * v['pin'] * 1e3
    each = v['memcpy' if maps else 'pread']
    read = n_bytes / min(readers * each, v['host_memory']) / 1e3
    send = n_bytes / v['pcie'] / 1e3
    repack = n_bytes / 1e9 * v['repack'] * 1e3
    if ring <= readers:  # every buffer has a reader that waits until it has been sent
        stream = max(read + send, repack)
    else:
        stream = max(read, send + repack)
    return fixed + stream, n_bytes
