#include "serve/http/peer.h"

#include <arpa/inet.h>
#include <string.h>

static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

static void set_four(struct peer *p, const unsigned char *address)
{
    memcpy(p->network, mapped, sizeof mapped);
    memcpy(p->network + sizeof mapped, address, 4);
    inet_ntop(AF_INET, address, p->text, sizeof p->text);
}

struct peer peer_of(const struct sockaddr_storage *address)
{
    struct peer p = { .text = "unix" };
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        set_four(&p, (const unsigned char *)&in->sin_addr);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)address;
        const unsigned char *bytes = in->sin6_addr.s6_addr;
        if (memcmp(bytes, mapped, sizeof mapped) == 0) {
            set_four(&p, bytes + sizeof mapped);
        } else {
            memcpy(p.network, bytes, 8);
            p.network[15] = 1; /* so that "::1" is not all zero */
            inet_ntop(AF_INET6, bytes, p.text, sizeof p.text);
        }
    }
    return p;
}

bool peer_is_limited(const struct peer *p)
{
    static const unsigned char none[sizeof p->network];
    return memcmp(p->network, none, sizeof none) != 0;
}

bool peer_is_same(const struct peer *a, const struct peer *b)
{
    return memcmp(a->network, b->network, sizeof a->network) == 0;
}
