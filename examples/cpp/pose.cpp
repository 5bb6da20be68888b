// Prints the joints of the people in a picture, with OpenVINO alone: no Python, no OpenCV, no weights of torch.
//
//     ./pose pose.onnx photo.ppm [detector.onnx]      (.xml does as well; without a detector, the picture is one person)
//
// Both networks are exported with everything inside, so that no mean, filter or suppression is written here:
//
//     mspn models export mspn-small pose.onnx --with-preprocessing --with-decoding
//     mspn models export person-detector detector.onnx --with-preprocessing --with-decoding
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <openvino/openvino.hpp>

struct Picture {
    int height, width;
    std::vector<uint8_t> rgb;
};

struct Box {
    float left, top, right, bottom;
};

constexpr int kDetectorSide = 416;  // "longer_side" in the detector's metadata
constexpr float kThreshold = 0.3f, kPaddingX = 1.09f, kPaddingY = 1.135f;  // "protocol.padding" in the network's
constexpr uint8_t kGray = 114, kBlack = 0;

Picture read_ppm(const std::string& path) {  // binary, as `magick photo.jpg photo.ppm` writes it
    std::ifstream file(path, std::ios::binary);
    std::string magic;
    int width = 0, height = 0, highest = 0;
    file >> magic >> width >> height >> highest;
    file.get();
    if (magic != "P6" || highest != 255 || width < 1 || height < 1) throw std::runtime_error(path + " is no binary PPM");
    Picture picture{height, width, std::vector<uint8_t>(size_t(3) * width * height)};
    file.read(reinterpret_cast<char*>(picture.rgb.data()), std::streamsize(picture.rgb.size()));
    if (!file) throw std::runtime_error(path + " ends too early");
    return picture;
}

// Pixel (x, y) of the result is that of the picture at (left + step * x, top + step * y), bilinear.
void cut(const Picture& picture, float left, float top, float step, int height, int width, uint8_t fill, uint8_t* out) {
    auto at = [&](int y, int x, int channel) -> float {
        bool inside = x >= 0 && y >= 0 && x < picture.width && y < picture.height;
        return inside ? picture.rgb[3 * (size_t(y) * picture.width + x) + channel] : fill;
    };
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x) {
            float from_x = left + step * x, from_y = top + step * y;
            int x0 = int(std::floor(from_x)), y0 = int(std::floor(from_y));
            float u = from_x - x0, v = from_y - y0;
            for (int channel = 0; channel < 3; ++channel)
                *out++ = uint8_t(std::lround((1 - v) * ((1 - u) * at(y0, x0, channel) + u * at(y0, x0 + 1, channel)) +
                                             v * ((1 - u) * at(y0 + 1, x0, channel) + u * at(y0 + 1, x0 + 1, channel))));
        }
}

std::vector<Box> detect(ov::Core& core, const std::string& path, const Picture& picture) {
    auto request = core.compile_model(path, "CPU").create_infer_request();
    float scale = float(kDetectorSide) / std::max(picture.height, picture.width);
    int height = int(std::lround(picture.height * scale)), width = int(std::lround(picture.width * scale));
    size_t rows = (height + 31) / 32 * 32, columns = (width + 31) / 32 * 32;
    ov::Tensor images(ov::element::u8, {1, rows, columns, 3}), sizes(ov::element::f32, {1, 2});
    std::vector<uint8_t> scaled(size_t(3) * height * width);
    // Pixel middles fall on each other, as OpenCV resizes: (x + 0.5) / scale - 0.5.
    cut(picture, 0.5f / scale - 0.5f, 0.5f / scale - 0.5f, 1 / scale, height, width, kGray, scaled.data());
    std::fill_n(images.data<uint8_t>(), images.get_size(), kGray);
    for (int y = 0; y < height; ++y)
        std::copy_n(scaled.data() + size_t(3) * y * width, 3 * width, images.data<uint8_t>() + 3 * columns * y);
    sizes.data<float>()[0] = float(height);
    sizes.data<float>()[1] = float(width);
    request.set_tensor("images", images);
    request.set_tensor("image_sizes", sizes);
    request.infer();
    ov::Tensor boxes = request.get_tensor("boxes"), scores = request.get_tensor("scores");
    std::vector<Box> found;
    for (size_t index = 0; index < scores.get_size(); ++index) {
        const float* box = boxes.data<float>() + 4 * index;
        if (scores.data<float>()[index] >= kThreshold)
            found.push_back({box[0] / scale, box[1] / scale, box[2] / scale, box[3] / scale});
    }
    return found;
}

int main(int count, char** arguments) try {
    if (count < 3 || count > 4) throw std::runtime_error("give POSE.onnx PHOTO.ppm [DETECTOR.onnx]");
    ov::Core core;
    core.set_property("CPU", ov::hint::inference_precision(ov::element::f32));  // else some chips round to bfloat16
    Picture picture = read_ppm(arguments[2]);
    std::vector<Box> people = {{0, 0, float(picture.width), float(picture.height)}};
    if (count == 4) people = detect(core, arguments[3], picture);
    if (people.empty()) return 0;

    auto model = core.read_model(arguments[1]);
    int height = int(model->input("crops").get_partial_shape()[1].get_length());
    int width = int(model->input("crops").get_partial_shape()[2].get_length());
    ov::Tensor crops(ov::element::u8, {people.size(), size_t(height), size_t(width), 3});
    std::vector<float> lefts, tops, steps;
    for (size_t person = 0; person < people.size(); ++person) {
        const Box& box = people[person];
        float box_width = kPaddingX * (box.right - box.left), box_height = kPaddingY * (box.bottom - box.top);
        float step = std::max(box_width / width, box_height / height);  // picture pixels a crop pixel
        steps.push_back(step);
        lefts.push_back((box.left + box.right) / 2 - step * width / 2);
        tops.push_back((box.top + box.bottom) / 2 - step * height / 2);
        uint8_t* crop = crops.data<uint8_t>() + 3 * person * height * width;
        cut(picture, lefts.back(), tops.back(), step, height, width, kBlack, crop);
    }
    auto request = core.compile_model(model, "CPU").create_infer_request();
    request.set_tensor("crops", crops);
    request.infer();
    ov::Tensor keypoints = request.get_tensor("keypoints"), scores = request.get_tensor("scores");
    size_t joints = keypoints.get_shape()[1];
    for (size_t person = 0; person < people.size(); ++person)
        for (size_t joint = 0; joint < joints; ++joint) {
            size_t index = person * joints + joint;
            const float* point = keypoints.data<float>() + 2 * index;
            std::printf("%zu %zu %.2f %.2f %.3f\n", person, joint, lefts[person] + steps[person] * point[0],
                        tops[person] + steps[person] * point[1], scores.data<float>()[index]);
        }
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 2;
}
