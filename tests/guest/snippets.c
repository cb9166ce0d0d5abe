/* Which rows of the opcode tables the named snippets of bare-metal test images contain.
 *
 * usage: guest_snippets IMAGE.elf...
 *
 * Prints "row ID PROPS TEXT" for each row of the tables, PROPS being P (ring 0 only), S (other system
 * rows) or U; then "use ID IMAGE SNIPPET" for each instruction of a snippet, that is from a symbol
 * NAME to the symbol NAME_end (the CODE and REAL macros of tests/guest).  docs_rows.py makes the
 * table in docs/ of it.  Code in section .low is 16-bit code, other code is of the image's class.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/decode.h"

struct image {
    u8 *data;
    size_t size;
    const char *name;
    bool is64;
};

/* What the tool needs of a section or a symbol, whatever the class. */
struct section {
    u64 addr, offset, size, link, type;
    const char *name;
};
struct symbol {
    const char *name;
    u64 value;
    unsigned section, type;
};

static void die(const char *name, const char *why)
{
    fprintf(stderr, "%s: %s\n", name, why);
    exit(1);
}

static const void *at(const struct image *im, u64 offset, u64 size)
{
    if (offset > im->size || size > im->size - offset)
        die(im->name, "damaged ELF file");
    return im->data + offset;
}

static void read_image(struct image *im, const char *path)
{
    FILE *f = fopen(path, "rb");
    const char *slash = strrchr(path, '/');
    if (!f)
        die(path, "cannot be opened");
    im->data = NULL;
    im->size = 0;
    for (size_t got = 1; got;) {
        im->data = realloc(im->data, im->size + 65536);
        if (!im->data)
            die(path, "no memory");
        got = fread(im->data + im->size, 1, 65536, f);
        im->size += got;
    }
    fclose(f);
    im->name = slash ? slash + 1 : path;
    if (im->size < sizeof(Elf64_Ehdr) || memcmp(im->data, ELFMAG, SELFMAG))
        die(path, "not an ELF file");
    im->is64 = im->data[EI_CLASS] == ELFCLASS64;
}

static unsigned section_count(const struct image *im)
{
    return im->is64 ? ((const Elf64_Ehdr *)im->data)->e_shnum
                    : ((const Elf32_Ehdr *)im->data)->e_shnum;
}

#define GET_SECTION(bits)                                                                    \
    do {                                                                                     \
        const Elf##bits##_Ehdr *e = (const void *)im->data;                                  \
        const Elf##bits##_Shdr *sh = at(im, e->e_shoff, (u64)e->e_shnum * sizeof *sh);       \
        const Elf##bits##_Shdr *names = &sh[e->e_shstrndx];                                  \
        s = (struct section){sh[n].sh_addr, sh[n].sh_offset, sh[n].sh_size, sh[n].sh_link,   \
                             sh[n].sh_type, at(im, names->sh_offset + sh[n].sh_name, 1)};    \
    } while (0)

static struct section get_section(const struct image *im, unsigned n)
{
    struct section s;
    if (im->is64)
        GET_SECTION(64);
    else
        GET_SECTION(32);
    return s;
}

#define GET_SYMBOL(bits)                                                                   \
    do {                                                                                   \
        const Elf##bits##_Sym *sym = at(im, table->offset, (n + 1) * sizeof *sym);         \
        s = (struct symbol){at(im, strings->offset + sym[n].st_name, 1), sym[n].st_value,  \
                            sym[n].st_shndx, ELF32_ST_TYPE(sym[n].st_info)};               \
    } while (0)

static struct symbol get_symbol(const struct image *im, const struct section *table,
                                const struct section *strings, u64 n)
{
    struct symbol s;
    if (im->is64)
        GET_SYMBOL(64);
    else
        GET_SYMBOL(32);
    return s;
}

static void decode_snippet(const struct image *im, const char *name, const struct section *in,
                           u64 from, u64 to)
{
    unsigned mode = !strcmp(in->name, ".low") ? 16 : im->is64 ? 64 : 32;
    const u8 *p = at(im, in->offset + (from - in->addr), to - from);
    while (from < to) {
        struct insn insn;
        unsigned avail = to - from < 15 ? (unsigned)(to - from) : 15;
        if (decode(&insn, p, avail, mode) != DECODE_OK) /* data, or #UD on purpose */
            return;
        printf("use %u %.*s %s\n", insn.row->id, (int)strcspn(im->name, "."), im->name, name);
        p += insn.len;
        from += insn.len;
    }
}

static void scan(const struct image *im)
{
    struct section table = {0}, strings = {0};
    for (unsigned n = 0; n < section_count(im); n++) {
        struct section s = get_section(im, n);
        if (s.type == SHT_SYMTAB) {
            table = s;
            strings = get_section(im, (unsigned)s.link);
        }
    }
    u64 count = table.size / (im->is64 ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym));
    for (u64 n = 0; n < count; n++) {
        struct symbol end = get_symbol(im, &table, &strings, n);
        size_t len = strlen(end.name);
        if (len < 5 || strcmp(end.name + len - 4, "_end") || end.section >= section_count(im) ||
            end.type != STT_NOTYPE) /* a function of C has a type */
            continue;
        for (u64 m = 0; m < count; m++) {
            struct symbol s = get_symbol(im, &table, &strings, m);
            if (strlen(s.name) != len - 4 || strncmp(s.name, end.name, len - 4) ||
                s.section != end.section || s.value > end.value)
                continue;
            struct section in = get_section(im, s.section);
            if (in.type == SHT_PROGBITS && s.value >= in.addr && end.value <= in.addr + in.size)
                decode_snippet(im, s.name, &in, s.value, end.value);
        }
    }
}

int main(int argc, char **argv)
{
    const struct opcode_row *const *rows;
    unsigned count = decode_rows(&rows);
    for (unsigned i = 0; i < count; i++)
        printf("row %u %c %s\n", rows[i]->id,
               rows[i]->props & ROW_PRIV ? 'P' : rows[i]->props & ROW_SYSTEM ? 'S' : 'U',
               rows[i]->text);
    for (int i = 1; i < argc; i++) {
        struct image im;
        read_image(&im, argv[i]);
        scan(&im);
        free(im.data);
    }
    return 0;
}
