/* The guest's screen as a picture file: PNG by libpng, or PPM. */
#include "frontends/screenshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if CONFIG_PNG
#include <png.h>
#endif

#include "base/log.h"
#include "devices/video/vga.h"

/* 24-bit rows, as both formats want them. */
static u8 *to_rgb(const struct vga_surface *s)
{
    u8 *rgb = malloc((size_t)s->width * s->height * 3 + 1), *p = rgb;
    for (size_t i = 0; rgb && i < (size_t)s->width * s->height; i++) {
        *p++ = (u8)(s->pixels[i] >> 16);
        *p++ = (u8)(s->pixels[i] >> 8);
        *p++ = (u8)s->pixels[i];
    }
    return rgb;
}

static bool write_png(FILE *f, const u8 *rgb, u32 width, u32 height)
{
#if CONFIG_PNG
    png_image image = {
        .version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = PNG_FORMAT_RGB};
    return png_image_write_to_stdio(&image, f, 0, rgb, 0, NULL);
#else
    errno = ENOTSUP;
    return false;
#endif
}

static bool write_ppm(FILE *f, const u8 *rgb, u32 width, u32 height)
{
    fprintf(f, "P6\n%u %u\n255\n", width, height);
    return fwrite(rgb, (size_t)width * 3, height, f) == height;
}

bool screenshot_save(struct vga *vga, const char *path, char **error)
{
    struct vga_surface s = {.pixels = malloc((size_t)VGA_WIDTH_MAX * VGA_HEIGHT_MAX * 4)};
    u8 *rgb = NULL;
    FILE *f = NULL;
    size_t n = strlen(path);
    bool png = n > 4 && !strcmp(path + n - 4, ".png"), good = false;
    errno = ENOMEM;
    if (s.pixels) {
        vga_draw(vga, &s, true);
        rgb = to_rgb(&s);
    }
    if (!s.width || !s.height)
        *error = error_text("the screen is off");
    else if (rgb && (f = fopen(path, "wb")) &&
             (png ? write_png : write_ppm)(f, rgb, s.width, s.height))
        good = true;
    else
        *error = error_text("cannot write %s: %s", path, strerror(errno));
    if (f && fclose(f) && good) {
        *error = error_text("cannot write %s: %s", path, strerror(errno));
        good = false;
    }
    free(rgb);
    free(s.pixels);
    return good;
}
