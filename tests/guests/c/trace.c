/* trace - a small ray tracer: structs by value and by pointer, a stack of rays, bytes of colour.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <math.h>
#include <stdbool.h>

#include "harness.h"

enum { WIDTH = 40, HEIGHT = 30, SPHERES = 5, MAX_RAYS = 6 };

struct vec {
    float x, y, z;
};

struct ray {
    struct vec origin, direction;
    float weight;
};

struct sphere {
    struct vec centre, colour;
    float radius, mirror;
};

struct hit {
    const struct sphere *sphere;
    struct vec at, normal;
    float distance;
};

struct scene {
    struct vec light;
    uint32_t width, height, count;
    struct sphere spheres[SPHERES];
};

static struct vec add(struct vec a, struct vec b) { return (struct vec){a.x + b.x, a.y + b.y, a.z + b.z}; }
static struct vec subtract(struct vec a, struct vec b) { return (struct vec){a.x - b.x, a.y - b.y, a.z - b.z}; }
static struct vec scale(struct vec a, float by) { return (struct vec){a.x * by, a.y * by, a.z * by}; }
static float dot(struct vec a, struct vec b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
static void normalize(struct vec *v) { *v = scale(*v, 1.0f / sqrtf(dot(*v, *v))); }

static bool meets(const struct sphere *sphere, const struct ray *ray, float *distance) {
    struct vec away = subtract(ray->origin, sphere->centre);
    float b = dot(away, ray->direction), c = dot(away, away) - sphere->radius * sphere->radius, root = b * b - c;
    if (root < 0) {
        return false;
    }
    *distance = -b - sqrtf(root);
    return *distance > 1e-3f;
}

static bool nearest(const struct scene *scene, const struct ray *ray, struct hit *hit) {
    hit->sphere = NULL;
    hit->distance = 1e30f;
    for (uint32_t k = 0; k < scene->count; k++) {
        float distance;
        if (meets(&scene->spheres[k], ray, &distance) && distance < hit->distance) {
            hit->sphere = &scene->spheres[k];
            hit->distance = distance;
        }
    }
    if (!hit->sphere) {
        return false;
    }
    hit->at = add(ray->origin, scale(ray->direction, hit->distance));
    hit->normal = subtract(hit->at, hit->sphere->centre);
    normalize(&hit->normal);
    return true;
}

static struct vec shade(const struct scene *scene, const struct hit *hit) {
    struct ray to_light = {hit->at, subtract(scene->light, hit->at), 1};
    struct hit blocker;
    normalize(&to_light.direction);
    float light = dot(to_light.direction, hit->normal);
    if (light < 0 || nearest(scene, &to_light, &blocker)) {
        light = 0;
    }
    return scale(hit->sphere->colour, 0.2f + 0.8f * light);
}

static uint8_t to_byte(float value) { return (uint8_t)(fminf(fmaxf(value, 0), 1) * 255.0f + 0.5f); }

static void trace(IDS, const struct scene *scene, uint32_t scene_size, uint8_t *image, uint32_t image_size) {
    struct ray rays[MAX_RAYS];
    struct vec colour = {0, 0, 0};
    uint32_t count = 1, made = 1;
    float x = (float)(i % (int32_t)scene->width) / (float)scene->width - 0.5f;
    float y = (float)(i / (int32_t)scene->width) / (float)scene->height - 0.5f;
    rays[0] = (struct ray){{0, 0, -4}, {x, -y, 1}, 1};
    normalize(&rays[0].direction);
    while (count > 0) {
        struct ray ray = rays[--count];
        struct hit hit;
        if (!nearest(scene, &ray, &hit)) {
            colour = add(colour, scale((struct vec){0.1f, 0.2f, 0.4f}, ray.weight));
            continue;
        }
        float mirror = hit.sphere->mirror;
        colour = add(colour, scale(shade(scene, &hit), ray.weight * (1 - mirror)));
        if (mirror > 0 && made < MAX_RAYS) {
            struct vec direction = subtract(ray.direction, scale(hit.normal, 2 * dot(ray.direction, hit.normal)));
            rays[count++] = (struct ray){hit.at, direction, ray.weight * mirror};
            made++;
        }
    }
    image[3 * i] = to_byte(colour.x);
    image[3 * i + 1] = to_byte(colour.y);
    image[3 * i + 2] = to_byte(colour.z);
}

int main(void) {
    static struct scene scene = {{5, 6, -5},
                                 WIDTH,
                                 HEIGHT,
                                 SPHERES,
                                 {{{0, 0, 0}, {1, 0.3f, 0.3f}, 0.8f, 0.3f},
                                  {{1.2f, 0.3f, 0.6f}, {0.3f, 1, 0.3f}, 0.6f, 0},
                                  {{-1.1f, 0.2f, 0.4f}, {0.3f, 0.3f, 1}, 0.5f, 0.6f},
                                  {{0.1f, 0.9f, -0.6f}, {1, 1, 0.2f}, 0.3f, 0},
                                  {{0, -101, 0}, {0.7f, 0.7f, 0.7f}, 100, 0.1f}}};
    static uint8_t image[3 * WIDTH * HEIGHT];
    struct array scene_array = new_array(&scene, sizeof scene, WL_READ), image_array = ARRAY(image, WL_WRITE);
    LAUNCH(trace, WIDTH * HEIGHT, 64, 1, &scene_array, &image_array);
    return finish();
}
