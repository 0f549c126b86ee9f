// Inpaint a PNG with a MaskGIT Refine bundle in onnxruntime-web, as a web page would.
// npm install onnxruntime-web pngjs; node onnxruntime_web_inpaint.mjs BUNDLE PICTURE.png MASK.png OUT.png
// (what is white in the mask is made again; both pictures of one size)
import { readFileSync, writeFileSync } from "node:fs";
import * as ort from "onnxruntime-web";
import png from "pngjs";

const [bundle, picture, mask, out] = process.argv.slice(2);
const STEPS = 8, HEAT = 4.5;
const manifest = JSON.parse(readFileSync(`${bundle}/manifest.json`, "utf8"));
const { stride, codebook_size: codes, grid, condition, graphs } = manifest;
const image = png.PNG.sync.read(readFileSync(picture));
const chosen = png.PNG.sync.read(readFileSync(mask));
const selected = (x, y) => chosen.data[4 * (y * chosen.width + x)] > 127;
ort.env.wasm.numThreads = 1;

const run = async (name, feeds, precision = "fp32") => {
  const { file } = graphs[name][precision] ?? graphs[name].fp32;
  run[file] ??= await ort.InferenceSession.create(readFileSync(`${bundle}/${file}`));
  return Object.values(await run[file].run(feeds))[0];
};
const int64 = (values, shape) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), shape);

let state = 1; // mulberry32, so that a run can be repeated
const random = () => {
  let t = (state = (state + 0x6d2b79f5) | 0);
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};
const gumbel = () => -Math.log(-Math.log(random() + 1e-12));

// The window: the selection's bounds with two tokens round them, 16 tokens a side or more.
let [x0, y0, x1, y1] = [image.width, image.height, 0, 0];
for (let y = 0; y < image.height; y++)
  for (let x = 0; x < image.width; x++)
    if (selected(x, y)) [x0, y0, x1, y1] = [Math.min(x0, x), Math.min(y0, y), Math.max(x1, x + 1), Math.max(y1, y + 1)];
const span = (low, high, most, size) => {
  const tokens = Math.min(most, Math.floor(size / stride), Math.max(16, Math.ceil((high - low) / stride) + 4));
  return [Math.min(Math.max(0, Math.floor((low + high - tokens * stride) / 2)), size - tokens * stride), tokens];
};
const [top, h] = span(y0, y1, grid.max[0], image.height), [left, w] = span(x0, x1, grid.max[1], image.width);
if (y1 > top + h * stride || x1 > left + w * stride || y0 < top || x0 < left) throw new Error("The selection is too large.");

// Encode the window with its hole filled with the mean colour; every touched token is unknown.
const H = h * stride, W = w * stride, pixels = new Float32Array(3 * H * W), unknown = new Set();
const each = (visit) => { for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) visit(x, y, selected(left + x, top + y), 4 * ((top + y) * image.width + left + x)); };
const mean = [0, 0, 0, 1e-9];
each((x, y, hole, at) => { if (!hole) { for (let c = 0; c < 3; c++) mean[c] += image.data[at + c]; mean[3]++; } });
each((x, y, hole, at) => {
  for (let c = 0; c < 3; c++) pixels[(c * H + y) * W + x] = (hole ? mean[c] / mean[3] : image.data[at + c]) / 255;
  if (hole) unknown.add(Math.floor(y / stride) * w + Math.floor(x / stride));
});
const encoded = await run("encoder", { image: new ort.Tensor("float32", pixels, [1, 3, H, W]) });
const tokens = Array.from(encoded.data, Number), total = unknown.size;

// MaskGIT's loop: draw all, keep the surest, mask the rest again, fewer each time.
for (let step = 1; step <= STEPS; step++) {
  const shown = tokens.map((token, cell) => (unknown.has(cell) ? codes : token));
  const feeds = { tokens: int64(shown, [1, h, w]) };
  if (condition.kind === "class") feeds.condition = int64([condition.null_label ?? 0], [1]);
  const logits = (await run("transformer", feeds, "int8")).data;
  const ranked = [...unknown].map((cell) => {
    const row = logits.subarray(cell * codes, (cell + 1) * codes), top = row.reduce((a, b) => Math.max(a, b));
    let sum = 0, best = -Infinity;
    row.forEach((value, code) => { sum += Math.exp(value - top); const score = value + gumbel(); if (score > best) [best, tokens[cell]] = [score, code]; });
    return [row[tokens[cell]] - top - Math.log(sum) + HEAT * (1 - step / STEPS) * gumbel(), cell];
  }).sort((a, b) => a[0] - b[0]);
  unknown.clear();
  ranked.slice(0, Math.floor(total * Math.cos((Math.PI / 2) * (step / STEPS)))).forEach(([, cell]) => unknown.add(cell));
}
const made = (await run("decoder", { tokens: int64(tokens, [1, h, w]) })).data;
each((x, y, hole, at) => { if (hole) for (let c = 0; c < 3; c++) image.data[at + c] = Math.round(255 * Math.min(1, Math.max(0, made[(c * H + y) * W + x]))); });
writeFileSync(out, png.PNG.sync.write(image));
