// Builds the page, and opens the sample that its address names.

function sampleOfAddress() {
  const [split, position] = decodeURIComponent(location.hash.slice(1)).split("/");
  return samples.find((sample) => sample.split === split && String(sample.position) === position);
}

if (!("DecompressionStream" in window)) {
  const text = "This browser cannot show the pictures. Chrome 80, Firefox 113, Safari 16.4 and later versions can.";
  document.getElementById("count").textContent = text;
} else if (arrays.length > 0) {
  buildViewer();
  buildSheet();
  buildFilter();
  applyFilter();
  const sample = sampleOfAddress();
  if (sample) show(sample);
}
