"use strict";
(async () => {
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const byId = (id) => document.getElementById(id);
  const TINTS = { grey: [255, 255, 255], ...data.colours };
  const mode = () => document.querySelector('input[name="mode"]:checked').value;
  let flickerShowsMoving = false;
  let timer = 0;

  async function pictureOf(address) {
    const image = new Image();
    image.src = address;
    await image.decode();
    return image;
  }

  // A grey picture in a colour; what "bright" is shows as far as it is bright.
  function tinted(image, colour, bright) {
    const { naturalWidth: width, naturalHeight: height } = image;
    const sheet = new OffscreenCanvas(width, height);
    const pen = sheet.getContext("2d");
    pen.drawImage(image, 0, 0);
    const pixels = pen.getImageData(0, 0, width, height);
    const [red, green, blue] = TINTS[colour];
    for (let i = 0; i < pixels.data.length; i += 4) {
      const light = pixels.data[i];
      const gain = bright ? 1 : light / 255;
      pixels.data.set([red * gain, green * gain, blue * gain, bright ? light : 255], i);
    }
    pen.putImageData(pixels, 0, 0);
    return sheet;
  }

  function scaleBar(pen, view, zoom) {
    const longest = 0.3 * view.width * view.unit_per_pixel;
    const power = 10 ** Math.floor(Math.log10(longest));
    const length = [5, 2, 1].map((step) => step * power).find((part) => part <= longest * (1 + 1e-9)) || power;
    const short = (value) => String(Number(value.toPrecision(6)));
    const words = view.symbol === "µm" && length < 1 ? `${short(length * 1000)} nm` : `${short(length)} ${view.symbol}`;
    const width = (length / view.unit_per_pixel) * zoom;
    const foot = view.height * zoom - 8;
    pen.font = "600 12px system-ui, sans-serif";
    pen.fillStyle = "rgba(0, 0, 0, 0.66)";
    pen.fillRect(8, foot - 32, Math.max(width, pen.measureText(words).width) + 16, 32);
    pen.fillStyle = "#fff";
    pen.fillRect(16, foot - 9, width, 3);
    pen.fillText(words, 16, foot - 15);
  }

  async function draw(view, number) {
    const canvas = byId(`slice-${number}`);
    const slice = Number(byId(`place-${number}`).value);
    const key = `${slice}`;
    if (view.key !== key) {
      const [fixed, moving] = await Promise.all([pictureOf(view.fixed[slice]), pictureOf(view.moving[slice])]);
      if (Number(byId(`place-${number}`).value) !== slice) return;
      const { look } = data;
      view.key = key;
      view.alone = { fixed, moving: tinted(moving, look.moving, false) };
      view.laid = { fixed: tinted(fixed, look.fixed, false), moving: tinted(moving, look.moving, look.blend !== "screen") };
      byId(`where-${number}`).textContent = view.places[slice];
    }
    const ratio = window.devicePixelRatio || 1;
    const zoom = canvas.clientWidth / view.width;
    canvas.width = Math.round(view.width * zoom * ratio);
    canvas.height = Math.round(view.height * zoom * ratio);
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio * zoom, 0, 0, ratio * zoom, 0, 0);
    const put = (picture) => pen.drawImage(picture, 0, 0, view.width, view.height);
    const now = mode();
    if (now === "overlay") {
      put(view.laid.fixed);
      pen.globalAlpha = Number(byId("opacity").value) / 100;
      if (data.look.blend === "screen") pen.globalCompositeOperation = "screen";
      put(view.laid.moving);
      pen.globalAlpha = 1;
      pen.globalCompositeOperation = "source-over";
    } else if (now === "swipe") {
      const at = (view.width * Number(byId("divider").value)) / 100;
      put(view.alone.fixed);
      pen.save();
      pen.beginPath();
      pen.rect(at, 0, view.width, view.height);
      pen.clip();
      put(view.alone.moving);
      pen.restore();
      pen.fillStyle = "#fff";
      pen.fillRect(at - 1 / zoom, 0, 2 / zoom, view.height);
    } else put(flickerShowsMoving ? view.alone.moving : view.alone.fixed);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    scaleBar(pen, view, zoom);
    canvas.setAttribute("aria-label", `${view.title}, ${view.places[slice]}; mode ${now}`);
  }

  const drawAll = () => Promise.all(data.views.map(draw));

  function changeMode() {
    document.querySelectorAll("[data-mode]").forEach((row) => { row.hidden = row.dataset.mode !== mode(); });
    clearInterval(timer);
    if (mode() === "flicker") {
      timer = setInterval(() => { flickerShowsMoving = !flickerShowsMoving; drawAll(); }, 500);
    }
  }

  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("controls").addEventListener("input", (event) => {
    if (event.target.name === "mode") changeMode();
    drawAll();
  });
  data.views.forEach((view, number) => {
    byId(`place-${number}`).addEventListener("input", () => draw(view, number));
  });
  changeMode();
  await drawAll();
  new ResizeObserver(drawAll).observe(byId("slices"));
  byId("slices").setAttribute("aria-busy", "false");
})();
