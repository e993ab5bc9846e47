// Pictures at full size: zoom, pan, one over the other with a slider between, a coloured map over both, arrows.
// OpenSeadragon draws; all pictures are one wide, so those of the sources and the enlarged result lie on each other.

import { html, svg } from "./elements.js";

const OPTIONS = {
  showNavigationControl: false, drawer: "canvas", maxZoomPixelRatio: 8, visibilityRatio: 0.6, minZoomImageRatio: 0.7,
  gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true }, animationTime: 0.4, springStiffness: 12,
  immediateRender: true, imageSmoothingEnabled: true, crossOriginPolicy: false, loadTilesWithAjax: false,
};
const KEY_STEP = 0.02;

/** A view of an item's pictures. */
export class Viewer {
  /** @param place Element that it fills. @param onProblem Told when a picture cannot be shown. */
  constructor(place, onProblem) {
    this.onProblem = onProblem;
    this.split = 0.5;
    this.layers = { under: null, over: null, map: null };
    this.wanted = { under: null, over: null, map: null };
    this.opacity = 0.55;
    this.canvas = html("div", { class: "canvas" });
    this.handle = html("div", { class: "divider", role: "slider", tabindex: "0", "aria-label": "Where the left picture ends", "aria-valuemin": "0", "aria-valuemax": "100", hidden: true });
    this.arrows = svg("svg", { class: "arrows", "aria-hidden": "true" });
    place.replaceChildren(this.canvas, this.arrows, this.handle);
    this.sea = window.OpenSeadragon({ element: this.canvas, ...OPTIONS });
    this.sea.innerTracker.keyDownHandler = this.sea.innerTracker.keyHandler = null; // the page's own keys
    for (const event of ["update-viewport", "resize", "animation"]) this.sea.addHandler(event, () => this.follow());
    this.listen();
  }

  listen() {
    this.handle.addEventListener("pointerdown", (event) => { this.handle.setPointerCapture(event.pointerId); event.stopPropagation(); });
    this.handle.addEventListener("pointermove", (event) => {
      if (!this.handle.hasPointerCapture(event.pointerId)) return;
      const box = this.canvas.getBoundingClientRect();
      this.divide((event.clientX - box.left) / box.width);
    });
    this.handle.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -KEY_STEP, ArrowRight: KEY_STEP, Home: -1, End: 1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.divide(this.split + step);
    });
  }

  destroy() {
    this.sea.destroy();
  }

  zoom(factor) {
    this.sea.viewport.zoomBy(factor);
    this.sea.viewport.applyConstraints();
  }

  fit() {
    this.sea.viewport.goHome();
  }

  /** One pixel of the uppermost picture is one of the screen. */
  actualSize() {
    const item = this.layers.under ?? this.layers.over;
    if (item) this.sea.viewport.zoomTo(item.imageToViewportZoom(1 / devicePixelRatio));
  }

  /** Show pictures: under everything, over it right of the slider, and a map over both; each or null. */
  show(under, over, map) {
    this.put("under", under, 0);
    this.put("over", over, 1);
    this.put("map", map, 2);
    this.handle.hidden = !over;
    this.divide(this.split);
  }

  put(slot, picture, index) {
    if (this.wanted[slot] === picture) return;
    this.wanted[slot] = picture;
    const former = this.layers[slot];
    const leave = () => { if (former && this.sea.world.getIndexOfItem(former) >= 0) this.sea.world.removeItem(former); };
    this.layers[slot] = null;
    if (!picture) return leave();
    const isFirst = this.sea.world.getItemCount() === 0;
    this.sea.addTiledImage({
      tileSource: source(picture), x: 0, y: 0, width: 1, opacity: slot === "map" ? this.opacity : 1,
      success: ({ item }) => {
        leave();
        if (this.wanted[slot] !== picture) return this.sea.world.removeItem(item);
        this.layers[slot] = item;
        this.sort();
        if (isFirst) this.sea.viewport.goHome(true);
        this.divide(this.split);
      },
      error: () => this.failed(slot, picture, index, leave),
    });
  }

  /** The file beside the page may be gone, or none a browser can show: then the small picture is. */
  failed(slot, picture, index, leave) {
    if (this.wanted[slot] !== picture) return;
    const isLost = !picture.full;
    this.onProblem(picture, isLost);
    picture.full = null;
    if (isLost || !picture.src) return leave();
    this.wanted[slot] = null;
    this.put(slot, picture, index);
  }

  sort() {
    ["under", "over", "map"].map((slot) => this.layers[slot]).filter(Boolean).forEach((item, index) => this.sea.world.setItemIndex(item, index));
  }

  setOpacity(opacity) {
    this.opacity = opacity;
    this.layers.map?.setOpacity(opacity);
  }

  /** Left of this share of the view is the lower picture. */
  divide(split) {
    this.split = Math.min(1, Math.max(0, split));
    const text = Math.round(100 * this.split);
    this.handle.style.left = `${100 * this.split}%`;
    this.handle.setAttribute("aria-valuenow", text);
    this.handle.setAttribute("aria-valuetext", `${text} % of the width`);
    this.follow();
  }

  /** Keep slider and arrows where they belong while the view moves. */
  follow() {
    const { over } = this.layers;
    if (over && this.sea.viewport) {
      const left = this.sea.viewport.pointFromPixel(new window.OpenSeadragon.Point(this.split * this.canvas.clientWidth, 0), true).x;
      const size = over.getContentSize();
      const from = Math.min(size.x, Math.max(0, left * size.x));
      over.setClip(new window.OpenSeadragon.Rect(from, 0, Math.max(0.001, size.x - from), size.y));
    }
    this.placeArrows();
  }

  /** Arrows [x, y, dx, dy] in widths of the picture; drawn ``times`` as long. */
  setArrows(list, times = 1) {
    this.arrows.replaceChildren(svg("defs", {}, svg("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 6, markerHeight: 6, orient: "auto" }, svg("path", { d: "M0 0 8 4 0 8z" }))),
      svg("g", {}, list.map(([x, y, dx, dy]) => svg("line", { x1: x, y1: y, x2: x + dx * times, y2: y + dy * times, "marker-end": "url(#tip)" }))));
    this.placeArrows();
  }

  placeArrows() {
    const group = this.arrows.lastElementChild;
    if (!group || !this.sea.viewport) return;
    const zero = this.sea.viewport.pixelFromPoint(new window.OpenSeadragon.Point(0, 0), true);
    const one = this.sea.viewport.pixelFromPoint(new window.OpenSeadragon.Point(1, 0), true);
    group.setAttribute("transform", `translate(${zero.x} ${zero.y}) scale(${one.x - zero.x})`);
  }
}

function source(picture) {
  const { tiles } = picture;
  if (!tiles) return { type: "image", url: picture.full ?? picture.src };
  return { width: tiles.width, height: tiles.height, tileSize: tiles.tile, tileOverlap: 0,
    getTileUrl: (level, x, y) => `${tiles.url}/${level}/${x}_${y}` };
}
