// Base models by the names that people write.

const NAMES = { sd15: "SD 1.5", sd2: "SD 2", sdxl: "SDXL", "sdxl-refiner": "Refiner", sd3: "SD 3", flux: "Flux", chroma: "Chroma" };

/** The name of a base model as people write it. */
export const baseName = (base) => NAMES[base] ?? (base === "unknown" ? "?" : base);
