/* What a web page may do. Without keys a page could ask this server from the browser of somebody
 * who may reach it: by its own name, after its name server has moved that name to this machine, or
 * from another origin. */
#ifndef WEFT_HTTP_HOSTS_H
#define WEFT_HTTP_HOSTS_H

#include <stdbool.h>
#include <stddef.h>

/* Returns true if the value of Host is an address, a name that no public name server can give to a
 * stranger (localhost, one without a dot, one that ends in .local, .localhost or .internal), or one
 * of the names. */
bool host_is_known(const char *host, const char *const *names, size_t n_names);
/* Returns true if the value of Origin is local, the host itself, or one of the origins, of which
 * "*" means all. */
bool origin_is_known(const char *origin, const char *host, const char *const *origins,
                     size_t n_origins);
/* Returns true if a text may stand in a header of an answer: printable ASCII without spaces. */
bool text_is_plain(const char *text, size_t most);

#endif
