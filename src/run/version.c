/* The names of statuses, and the versions of the library. */
#include "weft.h"

const char *weft_status_name(weft_status s)
{
    static const char *const names[] = {
        [WEFT_OK] = "WEFT_OK",
        [WEFT_E_ARG] = "WEFT_E_ARG",
        [WEFT_E_HANDLE] = "WEFT_E_HANDLE",
        [WEFT_E_STATE] = "WEFT_E_STATE",
        [WEFT_E_BUSY] = "WEFT_E_BUSY",
        [WEFT_E_BUFFER] = "WEFT_E_BUFFER",
        [WEFT_E_NOMEM] = "WEFT_E_NOMEM",
        [WEFT_E_DEVMEM] = "WEFT_E_DEVMEM",
        [WEFT_E_IO] = "WEFT_E_IO",
        [WEFT_E_FORMAT] = "WEFT_E_FORMAT",
        [WEFT_E_UNSUPPORTED] = "WEFT_E_UNSUPPORTED",
        [WEFT_E_KV_FULL] = "WEFT_E_KV_FULL",
        [WEFT_E_CTX_FULL] = "WEFT_E_CTX_FULL",
        [WEFT_E_CANCELLED] = "WEFT_E_CANCELLED",
        [WEFT_E_DEVICE_LOST] = "WEFT_E_DEVICE_LOST",
        [WEFT_E_INTERNAL] = "WEFT_E_INTERNAL",
        [WEFT_E_ENGINE] = "WEFT_E_ENGINE",
    };
    size_t i = (size_t)s;
    return i < sizeof names / sizeof names[0] && names[i] != NULL ? names[i] : "unknown status";
}

const char *weft_version(void) { return WEFT_VERSION; }

uint32_t weft_abi_version(void) { return WEFT_ABI_VERSION; }
