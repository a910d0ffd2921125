"""The time of loading a model. First comes what is serial before the first byte. Then readers fill
pinned buffers, the bus brings these to the device, and kernels repack them there. The three overlap
if the ring has enough buffers and the streams differ."""
import glob
import os
import re


class Upload:
    """What the source says about the upload. maps: the reader copies out of the mapped file;
    otherwise readers read() from it."""

    def __init__(self, readers, ring, maps):
        self.readers, self.ring, self.maps = readers, ring, maps


def read_source(folder='cuda'):
    """Reads the constants of the upload. Without READERS_MAX, one thread reads into RING buffers."""
    text = ''
    for path in sorted(glob.glob(os.path.join(folder, '*.[ch]'))):
        with open(path, encoding='utf-8') as f:
            text += f.read()
    found = {name: int(value)
             for name, value in re.findall(r'\b(RING|READERS_MAX|UPLOAD_PARTS) = (\d+)', text)}
    readers = found.get('READERS_MAX', 1)
    ring = found['RING'] if 'RING' in found else readers + found.get('UPLOAD_PARTS', 0)
    return Upload(readers, ring, 'gguf_read(' not in text)


def load_us(v, records, upload):
    """Returns (us, bytes) of a load."""
    n_bytes = fixed = copies = 0.0
    copying, repacking = set(), set()
    for r in records:
        n = r.get('count', 1)
        if r['kind'] == 'copy' and r['direction'] == 'h2d':
            n_bytes, copies = n_bytes + r['bytes'], copies + n
            if r['bytes'] > 1 << 20:
                copying.add(r.get('stream'))
        elif r['kind'] == 'kernel':
            repacking.add(r.get('stream'))
        elif r['kind'] == 'malloc':
            fixed += n * v['malloc'] + r['bytes'] / 1e9 * v['malloc_gb'] * 1e3
        elif r['kind'] == 'pin':
            fixed += r['bytes'] / 1e6 * v['pin'] * 1e3
    readers = min(upload.readers, v['host_cores'])
    read = n_bytes / min(readers * v['memcpy' if upload.maps else 'pread'], v['host_memory']) / 1e3
    send = n_bytes / v['pcie'] / 1e3 + copies * v['copy_fixed'] / max(1, len(copying))
    repack = n_bytes / 1e9 * v['repack'] * 1e3
    # In one stream, kernels wait for the copies before them, and copies for the kernels before
    # them.
    device = send + repack if copying & repacking else max(send, repack)
    # With only as many buffers as readers, a reader waits until its buffer has been sent.
    stream = max(read, device) if upload.ring > readers else read + device
    return fixed + stream, n_bytes
